"""Fixtures of the configuration tests."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from otel_eval.config import Config, load

Read = Callable[..., Config]


@pytest.fixture(autouse=True)
def _no_otel_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Read a YAML text as the file `c.yaml`, with `--set` texts and with environment variables."""
    monkeypatch.chdir(tmp_path)

    def read_it(text: str | bytes, *settings: str, **variables: str) -> Config:
        Path("c.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return load("c.yaml", settings).config

    return read_it
