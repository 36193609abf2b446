"""Requests refused for good: stored once, safely, counted, and sent again when somebody asks for it."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import structlog.testing

from otel_eval import service as service_module
from otel_eval.config import Config, load
from otel_eval.errors import ConfigError
from otel_eval.exporters import sending
from otel_eval.exporters.dead_letters import DeadLetter, DeadLetters
from otel_eval.exporters.running import retry_dead_letters
from otel_eval.records import Kind
from tests import hop, traffic
from tests.conftest import StartHop
from tests.exporters.backends import PROTOCOLS, behind, journal, queue, to_sink, until
from tests.hop import otlp_to
from tests.sink import INVALID, OK, UNAVAILABLE, Answer, Sink

BODY = traffic.traces(1).SerializeToString()
ONE_BY_ONE = {"max_message_bytes": 1024, "sending_queue": queue(consumers=4)}


def large() -> bytes:
    return traffic.traces(1, value_bytes=250).SerializeToString()


def store(directory: Path) -> DeadLetters:
    return DeadLetters(directory / "journal")


def config_of(directory: Path, exporters: dict[str, Any]) -> Config:
    return load(str(hop.write_config(directory, hop.settings(directory, exporters)))).config


async def test_a_letter_keeps_its_id_over_a_crash(sink: Sink, start_hop: StartHop, tmp_path: Path) -> None:
    held, refused = large(), large()
    sink.behave = lambda _kind, body: UNAVAILABLE if held in body else INVALID
    service = await start_hop(to_sink("grpc", sink, **ONE_BY_ONE))
    journal(service, held, refused)
    await until(store(tmp_path).letters)
    (before,) = store(tmp_path).letters()
    await service.stop(0)  # the cursor still stands before both, as after a crash
    sink.behave = lambda _kind, body: OK if held in body else INVALID
    service = await start_hop(to_sink("grpc", sink, **ONE_BY_ONE))
    await until(lambda: behind(service, "otlp") == 0)
    (after,) = store(tmp_path).letters()
    assert (after.id, after.body()) == (before.id, refused)
    assert after.time_ns > before.time_ns, "it was refused again"


@pytest.mark.parametrize("names", [("otlp/http", "otlp_http"), ("otlp/a.b", "otlp/a_b")])
async def test_exporters_with_similar_names_do_not_overwrite_each_others_letters(
    sink: Sink, start_hop: StartHop, tmp_path: Path, names: tuple[str, str]
) -> None:
    sink.behave = lambda _kind, _body: INVALID
    http = {"endpoint": f"http://127.0.0.1:{sink.http_port}"}
    exporters = {name: http if name == "otlp_http" else otlp_to(sink.grpc_port) for name in names}
    service = await start_hop(exporters)
    journal(service, BODY)
    await until(lambda: all(behind(service, name) == 0 for name in names))
    assert {letter.exporter for letter in store(tmp_path).letters()} == set(names)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_letters_that_the_backend_takes_are_removed_and_the_others_kept(
    sink: Sink, start_hop: StartHop, tmp_path: Path, protocol: str
) -> None:
    sink.behave = lambda _kind, _body: INVALID
    exporters = to_sink(protocol, sink)
    service = await start_hop(exporters)
    bodies = [traffic.traces(1).SerializeToString() for _ in range(4)]
    journal(service, *bodies)
    await until(lambda: len(store(tmp_path).letters()) == 4)
    await service.stop(0)
    config = config_of(tmp_path, exporters)
    answers = {bodies[1]: INVALID, bodies[2]: UNAVAILABLE}
    sink.behave = lambda _kind, body: answers.get(body, OK)
    outcomes = await retry_dead_letters(config, store(tmp_path).letters())
    assert {letter_body: problem is None for letter_body, problem in _by_body(outcomes, store(tmp_path), bodies)} == {
        bodies[0]: True,
        bodies[1]: False,
        bodies[2]: False,
        bodies[3]: True,
    }
    assert sorted(sink.received[Kind.TRACES]) == sorted([bodies[0], bodies[3]])
    assert sorted(letter.body() for letter in store(tmp_path).letters()) == sorted(bodies[1:3])


def _by_body(outcomes: list[Any], left: DeadLetters, bodies: list[bytes]) -> list[tuple[bytes, str | None]]:
    """The outcomes by body; a letter that was taken has no file any more, and the letters are in the order of bodies."""
    kept = {letter.id: letter.body() for letter in left.letters()}
    problems = {kept[letter.id]: problem for letter, problem in outcomes if letter.id in kept}
    return [(body, problems.get(body)) for body in bodies]


async def test_a_letter_that_nobody_can_send_any_more_says_why(sink: Sink, start_hop: StartHop, tmp_path: Path) -> None:
    sink.behave = lambda _kind, _body: INVALID
    http = {"endpoint": f"http://127.0.0.1:{sink.http_port}"}
    service = await start_hop({"otlp": otlp_to(sink.grpc_port), "otlp_http": http})
    journal(service, BODY)
    journal(service, traffic.logs(1).SerializeToString(), kind=Kind.LOGS)
    await until(lambda: len(store(tmp_path).letters()) == 4)
    await service.stop(0)
    sink.behave = lambda _kind, _body: OK
    config = config_of(tmp_path, {"otlp_http": {**http, "types": ["traces"]}})
    letters = store(tmp_path).letters()
    gone = next(letter for letter in letters if letter.exporter == "otlp_http" and letter.kind is Kind.TRACES)
    gone.drop()
    outcomes = {(letter.exporter, letter.kind): problem for letter, problem in await retry_dead_letters(config, letters)}
    assert outcomes == {
        ("otlp", Kind.TRACES): "no exporter otlp is configured",
        ("otlp", Kind.LOGS): "no exporter otlp is configured",
        ("otlp_http", Kind.LOGS): "the exporter otlp_http does not get logs any more",
        ("otlp_http", Kind.TRACES): "it is gone",
    }
    assert not sink.received[Kind.TRACES]


async def test_the_commands_list_retry_and_drop(sink: Sink, start_hop: StartHop, tmp_path: Path) -> None:
    sink.behave = lambda _kind, _body: Answer(code=3, message="bad \x1b[31m data")
    service = await start_hop({"otlp/main": otlp_to(sink.grpc_port)})
    journal(service, BODY)
    journal(service, traffic.logs(2).SerializeToString(), kind=Kind.LOGS, items=2)
    await until(lambda: len(store(tmp_path).letters()) == 2)
    await service.stop(0)
    sink.behave = lambda _kind, _body: OK
    config = ["--config", str(hop.write_config(tmp_path, hop.settings(tmp_path, {"otlp/main": otlp_to(sink.grpc_port)})))]

    async def command(*arguments: str) -> tuple[int, str]:
        line = [sys.executable, "-m", "otel_eval", "dead-letter", *arguments, *config]
        done = await asyncio.to_thread(subprocess.run, line, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    status, text = await command("list")
    assert status == 0
    assert "2 log records" in text
    assert "otlp/main" in text
    assert "\x1b" not in text
    ids = [line.split()[0] for line in text.splitlines()]
    traces = next(letter for letter in ids if "traces" in letter)
    assert await command("retry", traces) == (0, f"{traces}  sent\n")
    assert sink.received[Kind.TRACES] == [BODY]
    (logs,) = set(ids) - {traces}
    assert await command("drop", logs) == (0, f"{logs}  deleted\n")
    status, text = await command("retry", logs)
    assert status == 1
    assert "no dead letter" in text
    assert await command("list") == (0, "no dead letters\n")


async def test_letters_count_against_the_disk_budget(
    sink: Sink, start_hop: StartHop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "_MEASURE_S", 0.02)
    sink.behave = lambda _kind, _body: INVALID
    service = await start_hop({"otlp": otlp_to(sink.grpc_port)})
    before = service.journal.budget.used
    journal(service, large())
    size = service.journal.budget.used - before
    await until(lambda: service.journal.budget.used >= before + size + 800)
    (letter,) = store(tmp_path).letters()
    assert service.journal.budget.used == before + size + letter.size
    assert b"otel_eval_dead_letters 1.0" in service.metrics.prometheus()
    # Another process drops it; in between, the directory cannot be read for a while.
    directory = letter.path.parent
    directory.rename(tmp_path / "elsewhere")
    directory.symlink_to(directory)
    await asyncio.sleep(0.1)
    directory.unlink()
    (tmp_path / "elsewhere").rename(directory)
    await asyncio.sleep(1.3)
    assert service.journal.budget.used == before + size + letter.size
    letter.drop()
    await until(lambda: service.journal.budget.used == before + size)


async def test_a_letter_that_cannot_be_written_is_not_lost(
    sink: Sink, start_hop: StartHop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "_STORE_RETRY_S", 0.02)
    refused, taken = large(), large()
    sink.behave = lambda _kind, body: INVALID if refused in body else OK
    with structlog.testing.capture_logs() as lines:
        service = await start_hop({"otlp": otlp_to(sink.grpc_port)})
        in_the_way = tmp_path / "journal" / "dead-letters"
        in_the_way.write_text("a file")
        journal(service, refused, taken)
        await sink.wait_for_items(0)
        await until(lambda: sum("cannot be written" in line["event"] for line in lines) > 2)
        assert behind(service, "otlp") > len(refused) + len(taken)
        in_the_way.unlink()
        await until(lambda: behind(service, "otlp") == 0)
    assert [letter.body() for letter in store(tmp_path).letters()] == [refused]
    assert sink.received[Kind.TRACES] == [taken]


async def test_a_crash_between_the_letter_and_the_cursor_leaves_one_letter(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path)
    for _ in range(2):
        assert letters.add("otlp/x", Kind.TRACES, "77", BODY, 1, "no") == "otlp%2Fx.traces.77"
    assert [letter.body() for letter in letters.letters()] == [BODY]
    assert letters.measure() == (1, letters.letters()[0].size)


def test_what_is_no_letter_is_left_alone(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path)
    letters.add("otlp", Kind.LOGS, "1", b"\n\nbody\n", 1, "reason\nwith lines")
    for name, content in {"junk": b"\xff\xff", "list": b"[]\n", "half": b'{"exporter": "otlp"', "empty": b""}.items():
        (tmp_path / "dead-letters" / f"{name}.letter").write_bytes(content)
    (tmp_path / "dead-letters" / "directory.letter").mkdir()
    (letter,) = letters.letters()
    assert (letter.body(), letter.reason) == (b"\n\nbody\n", "reason\nwith lines")
    with pytest.raises(ConfigError, match="no dead letter 'junk'"):
        letters.select(("junk",))


def test_letters_are_listed_by_age(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path)
    for label in ("3", "1", "2"):
        letters.add("otlp", Kind.LOGS, label, b"x", 1, "no")
    found: list[DeadLetter] = letters.letters()
    assert [letter.id.rpartition(".")[2] for letter in found] == ["3", "1", "2"]


def test_a_letter_that_is_too_large_for_the_store_does_not_cost_the_others(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path, max_bytes=80_000)
    for number in range(3):
        letters.add("otlp", Kind.TRACES, str(number), bytes(1000), 1, "HTTP 400")
    letters.add("otlp", Kind.TRACES, "large", bytes(90_000), 1, "HTTP 400")
    assert [letter.id for letter in letters.letters()] == [f"otlp.traces.{number}" for number in range(3)]


def test_a_full_store_deletes_the_oldest_letters_and_counts_them(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path, max_bytes=80_000)
    for number in range(200):
        letters.add("otlp", Kind.LOGS, str(number), bytes(1000), 1, "no such service")
        assert DeadLetters(tmp_path).measure()[1] <= 80_000 + 10_000
    kept = [letter.id for letter in DeadLetters(tmp_path).letters()]
    assert kept == [f"otlp.logs.{number}" for number in range(200 - len(kept), 200)]
    assert letters.deleted.value == 200 - len(kept) > 100


async def test_a_backend_without_logs_does_not_stop_traces(
    sink: Sink, start_hop: StartHop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "_MEASURE_S", 0.02)
    sink.behave = lambda kind, _body: Answer(12, 404, "no such service") if kind is Kind.LOGS else OK
    exporters = {"otlp": otlp_to(sink.grpc_port)}
    service = await start_hop(exporters, journal={"directory": str(tmp_path / "journal"), "max_size_mib": 8})
    logs = traffic.logs(1)
    logs.resource_logs[0].scope_logs[0].log_records[0].body.string_value = "x" * 400_000
    for number in range(60):  # three times the budget
        journal(service, logs.SerializeToString(), kind=Kind.LOGS)
        journal(service, BODY)
        await sink.wait_for_items(number + 1)
        await until(lambda: behind(service, "otlp") == 0)
    assert b"otel_eval_dead_letters_deleted_total" in service.metrics.prometheus()
    assert 0 < len(store(tmp_path).letters()) < 3
