"""The demo as a user runs it: the hop with its embedded ClickHouse, the stand-in, the report."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from otel_eval.config import load
from otel_eval.demo.hop import REAL_BUDGET_USD, configuration

pytest.importorskip("chdb")


def demo(*options: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANTHROPIC_")}
    return subprocess.run(
        [sys.executable, "-m", "otel_eval.demo", *options],
        capture_output=True, text=True, check=False, timeout=100, env={**environment, **variables},
    )  # fmt: skip


@pytest.mark.slow
def test_sixty_traces_add_up(tmp_path: Path) -> None:
    done = demo("--traces", "60", "--seconds", "5", "--directory", str(tmp_path))
    output = done.stdout
    assert done.returncode == 0, output + done.stderr
    sent = re.search(r"([\d,]+) spans sent, ([\d,]+) in ClickHouse \(all of them\), 60 traces", output)
    assert sent is not None
    assert sent[1] == sent[2]
    ends = re.search(r"(\d+) of (\d+) chosen traces came to one end: scored", output)
    assert ends is not None
    assert ends[1] == ends[2] != "0"
    assert "simulated: nothing was paid" in output
    assert re.search(r"^all +0\.\d+ +0\.\d+ to [01]\.\d+ ", output, re.MULTILINE)
    assert "FROM otel_eval_decisions FINAL" in output
    assert "otel-eval explain" in output
    assert "\x1b" not in output
    (directory,) = tmp_path.iterdir()
    settings = yaml.safe_load((directory / "otel-eval.yaml").read_text())
    host, port = settings["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"].split(":")
    with socket.socket() as probe:
        assert probe.connect_ex((host, int(port))) != 0, "the hop is still there"
    assert not (directory / "clickhouse" / "connection.json").exists()


def test_with_a_key_few_traces_are_judged_for_little_money(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a-key")
    file = tmp_path / "real.yaml"
    simulated = configuration(tmp_path, "http://127.0.0.1:1")
    real = configuration(tmp_path, None)
    file.write_text(yaml.safe_dump(real))
    config = load(str(file), ()).config
    assert config.judging.budget.usd_per_day == REAL_BUDGET_USD
    assert config.sampling.strata is not None
    assert config.sampling.strata.rates["*"] < simulated["sampling"]["strata"]["rates"]["*"]
    assert "a-key" not in json.dumps(real)


def test_a_directory_that_cannot_be_made_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = demo("--directory", str(tmp_path / "file"))
    assert done.returncode == 1
    assert "cannot be made" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_nothing_stays_behind_when_it_is_killed(tmp_path: Path) -> None:
    """As when its terminal is closed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANTHROPIC_")}
    line = [sys.executable, "-m", "otel_eval.demo", "--live", "--directory", str(tmp_path)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=environment) as running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("The hop listens")
        running.kill()
    (file,) = tmp_path.glob("*/otel-eval.yaml")
    settings = yaml.safe_load(file.read_text())
    deadline = time.monotonic() + 30
    for address in (settings["telemetry"]["metrics"], settings["judging"]["provider"]["base_url"]):
        while _listens(int(address.rpartition(":")[2])):
            assert time.monotonic() < deadline, f"{address} is still there"
            time.sleep(0.1)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
