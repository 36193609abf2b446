"""A configuration for `otel-eval doctor`, and what the command finds."""

import asyncio
import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from otel_eval.cli.doctor import doctor
from tests import hop

Findings = list[tuple[str, str, str]]


def configured(directory: Path, exporters: dict[str, Any] | None = None, **sections: Any) -> dict[str, Any]:
    config = hop.settings(directory, exporters or {"debug": {}}, **sections)
    hop.write_config(directory, config)
    return config


async def findings(directory: Path, *more: str) -> tuple[int, Findings]:
    """The status, and check, status and text of each finding."""
    line = ["--config", str(directory / "config.yaml"), "--json", *more]
    result = await asyncio.to_thread(CliRunner().invoke, doctor, line)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    document = json.loads(result.stdout)
    found = [(one["check"], one["status"], one["text"]) for one in document["findings"]]
    assert document["problems"] == sum(status == "problem" for _, status, _ in found)
    return result.exit_code, found


def of(found: Findings, check: str) -> list[tuple[str, str]]:
    return [(status, text) for name, status, text in found if name == check]
