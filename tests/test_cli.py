"""The commands as a user types them: what they print, and the status that they end with."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from otel_eval import __version__
from otel_eval.cli import main
from otel_eval.config import load
from otel_eval.exporters.dead_letters import DeadLetters
from otel_eval.records import Kind
from tests import hop
from tests.hop import otlp_to
from tests.senders import named
from tests.sink import INVALID, OK, Sink

HEAVY = ("grpc", "aiohttp", "opentelemetry", "msgspec", "structlog", "yaml", "google.protobuf", "prometheus_client")


@pytest.fixture(autouse=True)
def _plain_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


def command(*arguments: str) -> tuple[int, str, str]:
    """Status, stdout and stderr of a command in this process; a traceback is a failure."""
    result = CliRunner().invoke(main, arguments, prog_name="otel-eval")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


async def run(*line: str | Path) -> tuple[int, str, str]:
    """The same of any program, in a process of its own."""
    done = await asyncio.to_thread(
        lambda: subprocess.run(line, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)
    )
    return done.returncode, done.stdout, done.stderr


async def process(*arguments: str) -> tuple[int, str, str]:
    """The same of this program."""
    return await run(sys.executable, "-m", "otel_eval", *arguments)


def configured(directory: Path, exporters: dict[str, Any], **sections: Any) -> str:
    return str(hop.write_config(directory, hop.settings(directory, exporters, **sections)))


def letter(directory: Path, exporter: str = "otlp", kind: Kind = Kind.TRACES, reason: str = "no") -> tuple[str, bytes]:
    """The id and the body of a new dead letter below `directory`."""
    body = named(kind, 3)
    store = DeadLetters(directory / "journal")
    return store.add(exporter, kind, str(len(store.letters())), body, 3, reason), body


@pytest.mark.parametrize("option", ["--help", "-h"])
async def test_help_is_fast_because_it_imports_nothing_heavy(option: str) -> None:
    status, out, error = await run(sys.executable, "-X", "importtime", "-m", "otel_eval", option)
    assert status == 0
    imported = {row.rsplit("|", 1)[1].strip() for row in error.splitlines() if row.startswith("import time:")}
    assert {"click", "otel_eval.cli"} <= imported
    assert [name for name in imported if name.startswith(HEAVY)] == []
    for name in ("run", "validate", "config", "dead-letter"):
        assert re.search(rf"^  {name} ", out, re.MULTILINE)


async def test_the_installed_script_is_the_same_command() -> None:
    installed = await run(Path(sys.executable).with_name("otel-eval"), "--version")
    assert installed == (0, f"otel-eval, version {__version__}\n", "") == command("--version")


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["rum"], "rum"),
        (["dead-letter", "show"], "show"),
        (["run", "--confg", "x"], "--confg"),
        (["validate", "extra"], "extra"),
        (["run", "--config"], "--config"),
    ],
)
def test_what_is_no_command_ends_with_status_2(arguments: list[str], nearest: str) -> None:
    status, out, error = command(*arguments)
    assert (status, out) == (2, "")
    assert nearest in error
    assert "Error: " in error


def test_a_valid_file_is_valid(tmp_path: Path) -> None:
    file = configured(tmp_path, {"otlp": otlp_to(4999)})
    assert command("validate", "--config", file) == (0, f"{file}: valid\n", "")
    assert not (tmp_path / "journal").exists(), "nothing was started"


def test_the_file_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EVAL_CONFIG", configured(tmp_path, {"otlp": otlp_to(4999)}))
    assert command("validate")[1].endswith("config.yaml: valid\n")


def test_without_a_file_it_says_where_data_would_go(monkeypatch: pytest.MonkeyPatch) -> None:
    status, out, _ = command("validate")
    assert status == 0
    assert "note: " in out
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://tempo:4317")
    assert command("validate")[:2] == (0, "note: exporters are taken from OTEL_EXPORTER_OTLP_*: otlp\n(defaults): valid\n")


CONFIGS: list[dict[str, Any]] = [
    {},
    {"exporters": {"debug": {"verbosity": "detailed"}}, "telemetry": {"metrics": None, "health": None}},
    {
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": "[::1]:4318", "tls": {"cert_file": "c", "key_file": "k"}}}}},
        "journal": {"directory": "a $$dollar, 'quotes' and é", "max_size_mib": 7, "sync": "always"},
        "exporters": {
            "otlp/a": {"endpoint": "https://b:1", "types": ["logs"], "timeout": "1m30s", "sending_queue": {"num_consumers": 1}},
            "otlp_http": {"endpoint": "http://b:1/$${x}", "retry_on_failure": {"multiplier": 2.5, "max_elapsed_time": "200us"}},
        },
        "service": {"drain_timeout": "0s"},
    },
]


@pytest.mark.parametrize("config", CONFIGS)
def test_the_printed_configuration_is_a_file_that_means_the_same(tmp_path: Path, config: dict[str, Any]) -> None:
    first = str(hop.write_config(tmp_path, config))
    status, out, _ = command("config", "--config", first)
    assert status == 0
    printed = tmp_path / "printed.yaml"
    printed.write_text(out)
    assert load(str(printed)).config == load(first).config
    assert command("config", "--config", str(printed)) == (0, out, "")


def test_the_printed_configuration_hides_secrets_and_shows_what_was_set(tmp_path: Path) -> None:
    exporter = otlp_to(4999, headers={"authorization": "Bearer hunter22"})
    grpc = {"endpoint": "127.0.0.1:4317", "auth": {"token": "hunter33"}}
    file = configured(tmp_path, {"otlp": exporter}, receivers={"otlp": {"protocols": {"grpc": grpc}}})
    status, out, error = command("config", "--config", file, "--set", "journal.sync=always", "--set", "exporters.otlp.timeout=3s")
    assert (status, error) == (0, "")
    assert "hunter" not in out
    shown = yaml.safe_load(out)
    assert shown["journal"]["sync"] == "always"
    assert shown["exporters"]["otlp"]["timeout"] == "3s"
    assert shown["exporters"]["otlp"]["headers"] == {"authorization": "****"}


MISTAKES = {
    "no such file": (["validate", "--config", "missing.yaml"], "missing.yaml: cannot be read"),
    "a directory": (["validate", "--config", "."], "cannot be read"),
    "no YAML": (["validate", "--config", "broken.yaml"], "broken.yaml"),
    "an unknown key": (["validate", "--set", "journl.sync=always"], "did you mean journal?"),
    "an unknown value": (["config", "--set", "journal.sync=alway"], "did you mean always?"),
    "an unknown exporter": (["run", "--set", "exporters.otlpp.endpoint=x:1"], "did you mean otlp?"),
    "a setting without a value": (["run", "--set", "journal.sync"], "--set: expected key=value"),
    "its own receiver": (["validate", "--set", "exporters.otlp.endpoint=localhost:4317"], "send to itself"),
    "letters that are not there": (["dead-letter", "drop", "nothing"], "no dead letter 'nothing'"),
    "a retry of nothing": (["dead-letter", "retry", "nothing"], "dead-letter list"),
    "a drop of nothing": (["dead-letter", "drop"], "--all"),
    "a drop of both": (["dead-letter", "drop", "one", "--all"], "--all"),
    "a journal that is a file": (
        ["run", "--set", "journal.directory=broken.yaml", "--set", "exporters.debug={}"],
        "journal.directory",
    ),
    "letters that cannot be read": (["dead-letter", "list", "--set", "journal.directory=odd"], "cannot be read"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_plain_message_and_status_1(tmp_path: Path, mistake: str) -> None:
    (tmp_path / "broken.yaml").write_text("journal: [\n")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "dead-letters").write_text("a file")
    arguments, expected = MISTAKES[mistake]
    status, out, error = command(*arguments)
    assert (status, out) == (1, "")
    assert error.startswith("otel-eval: ")
    assert expected in error
    assert "Traceback" not in error


@pytest.mark.parametrize("key", ["receivers.otlp.protocols.grpc", "receivers.otlp.protocols.http", "telemetry.metrics"])
async def test_a_port_that_is_taken_ends_the_start_with_its_key(sink: Sink, tmp_path: Path, key: str) -> None:
    file = configured(tmp_path, {"debug": {}})
    setting = f"{key}{'.endpoint' if 'receivers' in key else ''}=127.0.0.1:{sink.http_port}"
    status, out, error = await process("run", "--config", file, "--set", setting)
    assert (status, out) == (1, "")
    assert f"otel-eval: --set: {key}" in error
    assert f"cannot listen on 127.0.0.1:{sink.http_port}" in error
    assert "Traceback" not in error


async def test_a_second_hop_on_the_same_journal_does_not_start(tmp_path: Path) -> None:
    running = hop.HopProcess(tmp_path, hop.settings(tmp_path, {"debug": {}}))
    await running.start()
    try:
        (tmp_path / "second").mkdir()
        second = hop.settings(tmp_path, {"debug": {}})
        status, out, error = await process("run", "--config", str(hop.write_config(tmp_path / "second", second)))
        assert (status, out) == (1, "")
        assert f"in use by another otel-eval (process {running.pid})" in error
        assert "Traceback" not in error
    finally:
        await running.kill()


def test_letters_are_listed_with_what_a_person_needs_to_know(tmp_path: Path) -> None:
    file = configured(tmp_path, {"otlp": otlp_to(4999)})
    assert command("dead-letter", "list", "--config", file) == (0, "no dead letters\n", "")
    traces, _ = letter(tmp_path, reason="INVALID_ARGUMENT: \x1b[31mred\nforged  é")
    logs, _ = letter(tmp_path, "otlp/other", Kind.LOGS)
    status, out, _ = command("dead-letter", "list", "--config", file)
    assert status == 0
    first, second = out.splitlines()
    size = (tmp_path / "journal" / "dead-letters" / f"{traces}.letter").stat().st_size
    assert re.match(rf"{re.escape(traces)}  \d{{4}}-\d\d-\d\dT[\d:]{{8}}\+00:00  otlp  3 spans, {size} bytes  INVALID", first)
    assert first.endswith(r"INVALID_ARGUMENT: \x1b[31mred\nforged  \xe9")
    assert second.startswith(logs)
    assert "otlp/other  3 log records, " in second


async def test_letters_are_sent_again_and_removed(sink: Sink, tmp_path: Path) -> None:
    file = configured(tmp_path, {"otlp": otlp_to(sink.grpc_port)})
    letters = [letter(tmp_path, kind=kind) for kind in (Kind.TRACES, Kind.LOGS, Kind.TRACES)]
    first, logs, last = (id_ for id_, _ in letters)
    assert await process("dead-letter", "retry", logs, "--config", file) == (0, f"{logs}  sent\n", "")
    assert sink.received[Kind.LOGS] == [letters[1][1]]
    assert await process("dead-letter", "retry", "--config", file) == (0, f"{first}  sent\n{last}  sent\n", "")
    assert sink.received[Kind.TRACES] == [letters[0][1], letters[2][1]]
    assert await process("dead-letter", "retry", "--config", file) == (0, "", "")
    assert DeadLetters(tmp_path / "journal").letters() == []


async def test_letters_that_the_backend_refuses_are_kept_with_its_reason(sink: Sink, tmp_path: Path) -> None:
    file = configured(tmp_path, {"otlp": otlp_to(sink.grpc_port), "otlp/away": otlp_to(hop.free_port(), timeout="300ms")})
    refused, bad = letter(tmp_path)
    taken, _ = letter(tmp_path)
    away, _ = letter(tmp_path, "otlp/away")
    gone, _ = letter(tmp_path, "otlp/gone")
    sink.behave = lambda _kind, body: INVALID if body == bad else OK
    status, out, error = await process("dead-letter", "retry", "--config", file)
    assert (status, error) == (1, "")
    first, second, third, fourth = out.splitlines()
    assert first == f"{refused}  kept: INVALID_ARGUMENT: bad data"
    assert second == f"{taken}  sent"
    assert third.startswith(f"{away}  kept: ")
    assert fourth == f"{gone}  kept: no exporter otlp/gone is configured"
    assert {letter.id for letter in DeadLetters(tmp_path / "journal").letters()} == {refused, away, gone}


def test_letters_are_deleted_by_id_or_all_at_once(tmp_path: Path) -> None:
    file = configured(tmp_path, {"otlp": otlp_to(4999)})
    first, second, third = (letter(tmp_path)[0] for _ in range(3))
    status, out, error = command("dead-letter", "drop", first, "unknown", "--config", file)
    assert (status, out) == (1, "")
    assert "no dead letter 'unknown'" in error
    assert len(DeadLetters(tmp_path / "journal").letters()) == 3, "a mistake deletes nothing"
    assert command("dead-letter", "drop", second, "--config", file) == (0, f"{second}  deleted\n", "")
    assert command("dead-letter", "drop", "--all", "--config", file)[:2] == (0, f"{first}  deleted\n{third}  deleted\n")
    assert DeadLetters(tmp_path / "journal").letters() == []


async def test_a_reader_of_the_output_may_go_away(tmp_path: Path) -> None:
    for _ in range(3):
        letter(tmp_path)
    line = f"{sys.executable} -m otel_eval dead-letter list --set journal.directory={tmp_path / 'journal'} | true"
    assert await run("bash", "-c", line) == (0, "", "")
