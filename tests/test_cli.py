"""The command, as a user runs it: a process with arguments, output and an exit status."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from otel_eval import __version__
from otel_eval.exporters.dead_letters import DeadLetters
from otel_eval.records import Kind
from tests import traffic
from tests.config.mistakes import MISTAKES, Mistake
from tests.hop import free_port, otlp_to, settings, write_config
from tests.sink import INVALID, Sink

PROJECT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-m", "otel_eval"]


class Done(NamedTuple):
    """How a command ended."""

    status: int
    output: str
    errors: str


def otel_eval(*arguments: str, directory: Path = PROJECT, **variables: str) -> Done:
    """Run the command in a clean environment; it must end by itself."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")} | variables
    done = subprocess.run(
        [*COMMAND, *arguments], cwd=directory, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def mistaken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str], Future[Done]]]:
    """`validate` and `run` of every wrong configuration, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        running = {}
        for mistake in MISTAKES:
            directory = tmp_path_factory.mktemp(mistake.name)
            (directory / "c.yaml").write_bytes(mistake.text if isinstance(mistake.text, bytes) else mistake.text.encode())
            for command in ("validate", "run"):
                done = pool.submit(otel_eval, command, "--config", "c.yaml", directory=directory)
                running[mistake.name, command] = done
        yield running


@pytest.mark.parametrize("command", ["validate", "run"])
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_ends_with_a_message_and_no_traceback(
    mistaken: dict[tuple[str, str], Future[Done]], mistake: Mistake, command: str
) -> None:
    done = mistaken[mistake.name, command].result()
    assert (done.status, done.output) == (1, "")
    assert done.errors.startswith("otel-eval: ")
    assert all(part in done.errors for part in mistake.says), done.errors
    assert "Traceback" not in done.errors
    assert len(done.errors.splitlines()) == (3 if mistake.name == "several_unknown_keys" else 1)


def test_run_names_what_only_a_start_can_find(tmp_path: Path) -> None:
    file = write_config(tmp_path, settings(tmp_path, {"debug": {}}))
    (tmp_path / "taken").write_text("")
    for setting, says in {
        f"journal.directory={tmp_path / 'taken'}": "journal.directory: ",
        "journal.directory=/proc/none": "journal.directory: /proc/none cannot be used",
        "receivers.otlp.protocols.http.endpoint=192.0.2.1:1": "receivers.otlp.protocols.http.endpoint: cannot listen on 192.0.2.1:1",
        "receivers.otlp.protocols.grpc.endpoint=192.0.2.1:1": "receivers.otlp.protocols.grpc.endpoint: cannot listen on 192.0.2.1:1",
        "telemetry.metrics=192.0.2.1:1": "telemetry.metrics: cannot listen on 192.0.2.1:1",
        "receivers.otlp.protocols.http.tls={cert_file: /none, key_file: /none}": "receivers.otlp.protocols.http.tls: ",
        "receivers.otlp.protocols.grpc.auth.filename=/none": "receivers.otlp.protocols.grpc.auth.filename: /none cannot be read",
        "exporters.otlp_http={endpoint: 'https://b', tls: {ca_file: /none}}": "exporters.otlp_http.tls: ",
    }.items():
        done = otel_eval("run", "--config", str(file), "--set", setting)
        assert done.status == 1
        assert f"otel-eval: {says}" in done.errors
        assert "Traceback" not in done.errors


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["rnu"], "No such command 'rnu'"),
        (["run", "--confg", "x"], "No such option"),
        (["run", "extra"], "unexpected extra argument"),
        (["dead-letter", "lst"], "No such command 'lst'"),
        (["validate", "--set"], "requires an argument"),
    ],
)
def test_a_command_that_is_not_known_is_told(arguments: list[str], says: str) -> None:
    done = otel_eval(*arguments)
    assert (done.status, says in done.errors, "Traceback" in done.errors) == (2, True, False), done.errors


@pytest.mark.parametrize("arguments", [["run"], ["validate"], ["config"], ["dead-letter", "list"], ["dead-letter", "retry"]])
@pytest.mark.parametrize("file", ["none.yaml", ".", ""])
def test_a_file_that_cannot_be_read_is_told_by_every_command(tmp_path: Path, arguments: list[str], file: str) -> None:
    done = otel_eval(*arguments, "--config", file, directory=tmp_path)
    assert done == (
        1,
        "",
        f"otel-eval: {file}: cannot be read: {'Is a directory' if file == '.' else 'No such file or directory'}\n",
    )


def test_help_and_version_load_nothing_heavy() -> None:
    for arguments in (["--help"], ["-h"], ["--version"], ["run", "--help"], ["dead-letter", "--help"]):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "otel_eval", *arguments], capture_output=True, text=True, check=True
        )
        loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
        assert loaded >= {"click", "otel_eval"}
        assert not loaded & {"grpc", "aiohttp", "opentelemetry", "msgspec", "yaml", "google", "structlog", "prometheus_client"}


def test_help_names_every_command_and_version_the_version() -> None:
    text = otel_eval("--help").output
    for command in ("run", "validate", "config", "dead-letter"):
        assert re.search(rf"^  {command} +[A-Z]", text, re.MULTILINE)
    assert otel_eval("--version").output == f"otel-eval, version {__version__}\n"
    scripts = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"otel-eval": "otel_eval.cli:main"}


def test_validate_says_what_is_valid_and_what_was_chosen(tmp_path: Path) -> None:
    file = write_config(tmp_path, settings(tmp_path, {"debug": {}}))
    assert otel_eval("validate", "--config", str(file)) == (0, f"{file}: valid\n", "")
    assert otel_eval("validate", OTEL_EVAL_CONFIG=str(file)) == (0, f"{file}: valid\n", "")
    done = otel_eval("validate", directory=tmp_path)
    assert (done.status, done.errors) == (0, "")
    assert "note: no exporter is configured and OTEL_EXPORTER_OTLP_ENDPOINT is not set" in done.output
    assert list(tmp_path.iterdir()) == [file]  # nothing was started


def test_the_printed_configuration_is_valid_and_complete_and_has_no_secrets(tmp_path: Path) -> None:
    exporters = {"otlp": otlp_to(1, headers={"authorization": "${env:TOKEN}"}), "debug": {}}
    file = write_config(tmp_path, settings(tmp_path, exporters))
    auth = "receivers.otlp.protocols.grpc.auth.token=s3cret"
    printed = otel_eval("config", "--config", str(file), "--set", auth, TOKEN="s3cret")
    assert (printed.status, printed.errors) == (0, "")
    assert "s3cret" not in printed.output
    (tmp_path / "printed.yaml").write_text(printed.output)
    assert otel_eval("validate", "--config", str(tmp_path / "printed.yaml")).status == 0
    again = otel_eval("config", "--config", str(tmp_path / "printed.yaml"))
    assert yaml.safe_load(again.output) == yaml.safe_load(printed.output)
    assert yaml.safe_load(printed.output)["service"] == {"drain_timeout": "10s"}


def test_the_configuration_is_not_printed_when_an_exporter_cannot_work_with_it() -> None:
    done = otel_eval("config", "--set", "exporters.otlp.endpoint=http://user:s3cret@backend:4317")
    assert (done.status, done.output, "s3cret" in done.errors) == (1, "", False)


def letters(tmp_path: Path, exporter: str, count: int) -> list[str]:
    store = DeadLetters(tmp_path / "journal")
    bodies = [traffic.traces(number + 1).SerializeToString() for number in range(count)]
    reason = "HTTP 400: \x1b[31mbad\nforged line"
    return [store.add(exporter, Kind.TRACES, str(number), body, number + 1, reason) for number, body in enumerate(bodies)]


def test_dead_letters_are_listed_on_a_line_each(tmp_path: Path) -> None:
    config = ["--config", str(write_config(tmp_path, settings(tmp_path, {"debug": {}})))]
    assert otel_eval("dead-letter", "list", *config) == (0, "no dead letters\n", "")
    ids = letters(tmp_path, "otlp/x", 3)
    (tmp_path / "journal/dead-letters/none.letter").write_bytes(b"\xff no letter")
    lines = otel_eval("dead-letter", "list", *config).output.splitlines()
    assert [line.split("  ")[0] for line in lines] == ids
    for number, line in enumerate(lines):
        assert re.search(
            rf"  \d{{4}}-\d\d-\d\dT[\d:+]+  otlp/x  {number + 1} spans, \d+ bytes  HTTP 400: \\x1b\[31mbad\\nforged", line
        )


def test_dead_letters_are_dropped_by_id_or_all(tmp_path: Path) -> None:
    config = ["--config", str(write_config(tmp_path, settings(tmp_path, {"debug": {}})))]
    ids = letters(tmp_path, "otlp", 3)
    for arguments in ([], [ids[0], "--all"]):
        assert otel_eval("dead-letter", "drop", *arguments, *config) == (
            1,
            "",
            "otel-eval: expected the ids to delete, or --all\n",
        )
    unknown = otel_eval("dead-letter", "drop", ids[0], "../../config", *config)
    assert (unknown.status, "no dead letter '../../config'" in unknown.errors) == (1, True)
    assert otel_eval("dead-letter", "drop", ids[1], *config) == (0, f"{ids[1]}  deleted\n", "")
    assert [letter.id for letter in DeadLetters(tmp_path / "journal").letters()] == [ids[0], ids[2]]
    assert otel_eval("dead-letter", "drop", "--all", *config).output == f"{ids[0]}  deleted\n{ids[2]}  deleted\n"
    assert DeadLetters(tmp_path / "journal").letters() == []


async def retried(*arguments: str) -> Done:
    """`dead-letter retry`, while the sink of the test answers."""
    import asyncio

    return await asyncio.to_thread(otel_eval, "dead-letter", "retry", *arguments)


async def test_dead_letters_are_sent_again_and_those_that_are_taken_are_removed(sink: Sink, tmp_path: Path) -> None:
    config = ["--config", str(write_config(tmp_path, settings(tmp_path, {"otlp": otlp_to(sink.grpc_port)})))]
    ids = letters(tmp_path, "otlp", 3)
    gone = letters(tmp_path, "otlp/gone", 1)
    bodies = {letter.id: letter.body() for letter in DeadLetters(tmp_path / "journal").letters()}
    assert await retried(ids[1], *config) == (0, f"{ids[1]}  sent\n", "")
    sink.answers.append(INVALID)
    done = await retried(*config)
    assert done.status == 1
    assert done.output.splitlines() == [
        f"{ids[0]}  kept: INVALID_ARGUMENT: bad data",
        f"{ids[2]}  sent",
        f"{gone[0]}  kept: no exporter otlp/gone is configured",
    ]
    assert sink.received[Kind.TRACES] == [bodies[ids[1]], bodies[ids[2]]]
    assert [letter.id for letter in DeadLetters(tmp_path / "journal").letters()] == [ids[0], gone[0]]


def test_a_backend_that_is_down_keeps_the_dead_letters(tmp_path: Path) -> None:
    exporter = otlp_to(free_port(), timeout="1s")
    config = ["--config", str(write_config(tmp_path, settings(tmp_path, {"otlp": exporter})))]
    (letter,) = letters(tmp_path, "otlp", 1)
    done = otel_eval("dead-letter", "retry", *config)
    assert (done.status, done.output.startswith(f"{letter}  kept: UNAVAILABLE: ")) == (1, True)
    assert len(DeadLetters(tmp_path / "journal").letters()) == 1
