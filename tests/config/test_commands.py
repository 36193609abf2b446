"""Every wrong configuration through the real command: a message, status 1, no traceback."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.config.mistakes import MISTAKES, Mistake
from tests.hop import settings, write_config

COMMAND = str(Path(sys.executable).with_name("otel-eval"))
UNREACHABLE = "192.0.2.1:1"


class Done(NamedTuple):
    """How a command ended."""

    status: int
    output: str
    errors: str


Runs = dict[tuple[str, str], Future[Done]]


def otel_eval(*arguments: str, directory: Path) -> Done:
    """Run the command without standard variables; it must end by itself."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [COMMAND, *arguments], cwd=directory, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def mistaken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """`validate` of every wrong configuration, and `run` of some, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        running = {}
        for number, mistake in enumerate(MISTAKES):
            directory = tmp_path_factory.mktemp(mistake.name)
            (directory / "c.yaml").write_bytes(mistake.text if isinstance(mistake.text, bytes) else mistake.text.encode())
            for command in ["validate"] + ["run"] * (number % 8 == 0):
                done = pool.submit(otel_eval, command, "--config", "c.yaml", directory=directory)
                running[mistake.name, command] = done
        yield running


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_ends_with_a_message_and_no_traceback(mistaken: Runs, mistake: Mistake) -> None:
    for command in ("validate", "run"):
        if (mistake.name, command) in mistaken:
            done = mistaken[mistake.name, command].result()
            assert (done.status, done.output) == (1, "")
            assert done.errors.startswith("otel-eval: ")
            assert all(part in done.errors for part in mistake.says), done.errors
            assert "Traceback" not in done.errors
            assert len(done.errors.splitlines()) == (3 if mistake.name == "several_unknown_keys" else 1)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("journal.directory=/proc/none", "journal.directory: /proc/none cannot be used"),
        (f"receivers.otlp.protocols.http.endpoint={UNREACHABLE}", "receivers.otlp.protocols.http.endpoint: cannot listen on 192"),
        (f"receivers.otlp.protocols.grpc.endpoint={UNREACHABLE}", "receivers.otlp.protocols.grpc.endpoint: cannot listen on 192"),
        (f"telemetry.metrics={UNREACHABLE}", "telemetry.metrics: cannot listen on 192.0.2.1:1: "),
        ("receivers.otlp.protocols.http.tls={cert_file: /none, key_file: /none}", "receivers.otlp.protocols.http.tls"),
        ("receivers.otlp.protocols.grpc.auth.filename=/none", "receivers.otlp.protocols.grpc.auth.filename: /none cannot be"),
        (
            "exporters.otlp_http={endpoint: 'https://b', tls: {ca_file: /none}}",
            "exporters.otlp_http.tls: the certificate, key or authority cannot be used (/none): ",
        ),
    ],
)
def test_what_only_a_start_can_find_is_told_in_the_same_way(tmp_path: Path, setting: str, says: str) -> None:
    file = write_config(tmp_path, settings(tmp_path, {"debug": {}}))
    done = otel_eval("run", "--config", str(file), "--set", setting, directory=tmp_path)
    assert done.status == 1
    assert f"otel-eval: --set: {says}" in done.errors
    assert "Traceback" not in done.errors


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        (["run"], "none.yaml"),
        (["validate"], ""),
        (["config"], "."),
        (["dead-letter", "list"], "none.yaml"),
        (["dead-letter", "retry"], "."),
        (["dead-letter", "drop", "--all"], "none.yaml"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_by_every_command(tmp_path: Path, arguments: list[str], file: str) -> None:
    reason = "Is a directory" if file == "." else "No such file or directory"
    done = otel_eval(*arguments, "--config", file, directory=tmp_path)
    assert done == (1, "", f"otel-eval: {file}: cannot be read: {reason}\n")
