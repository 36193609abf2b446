"""Our log lines: whole, limited in number and length, and safe whatever text comes from outside."""

import asyncio
import contextlib
import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import example, given, settings
from hypothesis import strategies as st

from otel_eval import logs
from otel_eval.records import Kind
from tests.conftest import StartProcess
from tests.hop import free_port, otlp_to
from tests.senders import export, named, post
from tests.sink import OK, Answer, Sink

LINE = re.compile(r"(?P<timestamp>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?) \[(?P<level>\w+) *\] (?P<event>.*)")
FORMS = ["text", "json"]
FORGED = "\n2026-01-01T00:00:00Z [error    ] forged\r\x1b[31m\x00\x9b\u2028"


@contextlib.contextmanager
def written(level: str = "info", form: str = "text") -> Iterator[io.StringIO]:
    """What goes to stderr inside of the block, with logging set up like that."""
    with contextlib.redirect_stderr(io.StringIO()) as stderr:
        logs.configure(level, form)
        yield stderr
    logs.configure()


def log() -> Any:
    return structlog.get_logger("tests")


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_each_json_line_is_an_object_with_its_time_level_and_values() -> None:
    with written(form="json") as stderr:
        log().info("started", port=4317, name='a "b" é')
        log().error("failed", reason=None)
    first, second = events(stderr.getvalue())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", first.pop("timestamp"))
    assert first == {"event": "started", "level": "info", "port": 4317, "name": 'a "b" é'}
    assert (second["event"], second["level"], second["reason"]) == ("failed", "error", None)


def test_each_text_line_has_its_time_level_event_and_values() -> None:
    with written() as stderr:
        log().warning("the backend is away", exporter="otlp/a", behind_bytes=12)
    (line,) = stderr.getvalue().splitlines()
    match = LINE.fullmatch(line)
    assert match
    assert match["level"] == "warning"
    assert re.fullmatch(r"the backend is away +behind_bytes=12 exporter=otlp/a", match["event"])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("level", "expected"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_lines_below_the_level_are_left_out(form: str, level: str, expected: int) -> None:
    with written(level, form) as stderr:
        for method in ("debug", "info", "warning", "error"):
            getattr(log(), method)("a line")
    assert len(stderr.getvalue().splitlines()) == expected


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=100, deadline=None)
@example(FORGED)
@example("\ud800")
@given(text=st.text())
def test_foreign_text_stays_on_its_line(form: str, text: str) -> None:
    with written(form=form) as stderr:
        log().error("refused", reason=text)
        log().error("refused: " + text)
        logging.getLogger("a.library").error("refused: %s", text)
    lines = stderr.getvalue().split("\n")
    assert len(lines) == 4
    assert lines.pop() == ""
    assert all(line.isprintable() for line in lines)
    if form == "json":
        assert [json.loads(line)["level"] for line in lines] == ["error"] * 3
    else:
        assert all(LINE.fullmatch(line) for line in lines)


def test_control_characters_are_shown_escaped() -> None:
    with written(form="json") as stderr:
        log().error("refused", reason="a\n\x1b[31m\x00é\u2028")
    assert events(stderr.getvalue())[0]["reason"] == r"a\n\x1b[31m\x00é\u2028"


@pytest.mark.parametrize("form", FORMS)
def test_long_text_is_cut(form: str) -> None:
    with written(form=form) as stderr:
        log().error("refused", reason="r" * 1_000_000)
        log().error("e" * 1_000_000)
        logging.getLogger("a.library").error("%s", "m" * 1_000_000)
    for line, letter in zip(stderr.getvalue().splitlines(), "rem", strict=True):
        assert letter * 1000 in line
        assert letter * 1001 not in line
        assert len(line) < 1200


def test_repeated_lines_are_limited_and_their_number_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with written(form="json") as stderr:
        for _ in range(25):
            log().warning("the backend is away", exporter="a")
            log().error("the backend is away", exporter="b")
        log().warning("something else")
        monkeypatch.setattr(logs, "_WINDOW_S", 0.0)  # as if it were over
        log().warning("the backend is away", exporter="a")
        log().warning("the backend is away", exporter="a")
        log().warning("something else")
    lines = events(stderr.getvalue())
    away = [line for line in lines if line["level"] == "warning" and line["event"] == "the backend is away"]
    assert len(away) == 12
    assert [line["repeated"] for line in away if "repeated" in line] == [15]
    assert away[10]["repeated"] == 15
    assert sum(line["level"] == "error" for line in lines) == 10, "each line by itself"
    assert ["repeated" in line for line in lines if line["event"] == "something else"] == [False, False]


def test_what_libraries_log_is_limited_too() -> None:
    with written(form="json") as stderr:
        for number in range(25):
            logging.getLogger("a.library").warning("trouble %d", number)
            logging.getLogger("another.library").info("not interesting")
    assert [line["event"] for line in events(stderr.getvalue())] == [f"trouble {number}" for number in range(10)]


def test_the_limit_does_not_grow_with_the_number_of_different_lines() -> None:
    limit = logs.RateLimit()
    assert all(limit.count("error", f"line {number}") == 0 for number in range(5000))
    assert len(limit._seen) <= 1000


@pytest.mark.parametrize("form", FORMS)
def test_a_traceback_is_readable_and_carries_no_control_characters(form: str) -> None:
    with written(form=form) as stderr:
        try:
            raise ValueError("bad \x1b[31m value")
        except ValueError as error:
            log().error("a task failed", exc_info=error)
            logging.getLogger("a.library").exception("another failed")
    text = stderr.getvalue()
    assert "\x1b" not in text
    if form == "json":
        lines = events(text)
        assert [line["event"] for line in lines] == ["a task failed", "another failed"]
        tracebacks = [line["exception"] for line in lines]
    else:
        tracebacks = text.split("another failed")
        assert len(tracebacks) == 2
    for traceback in tracebacks:
        assert "Traceback (most recent call last):\n" in traceback
        assert r"ValueError: bad \x1b[31m value" in traceback


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(28, "no space")])
def test_nobody_fails_because_a_line_cannot_be_written(error: OSError) -> None:
    class Broken(io.StringIO):
        def write(self, _: str) -> int:
            raise error

    with contextlib.redirect_stderr(Broken()):
        logs.configure()
        log().error("a line")
        logging.getLogger("a.library").error("a line")
    logs.configure()


async def test_what_a_backend_answers_cannot_forge_a_line(sink: Sink, start_process: StartProcess) -> None:
    sink.behave = lambda _kind, _body: Answer(3, 400, "bad" + FORGED + "x" * 5000)
    telemetry = {"logs": {"format": "json"}}
    process = await start_process({"otlp": otlp_to(sink.grpc_port)}, telemetry={**_pages(), **telemetry})
    await export(process.grpc, Kind.TRACES, named(Kind.TRACES, 1))
    async with asyncio.timeout(20):
        while "refused a request for good" not in process.log():
            await asyncio.sleep(0.02)
    assert await process.stop() == 0
    lines = events(process.log())
    (refusal,) = [line for line in lines if "for good" in line["event"]]
    assert refusal["reason"].startswith(r"INVALID_ARGUMENT: bad\n2026-01-01T00:00:00Z [error    ] forged")
    assert len(refusal["reason"]) < 1100


def _pages() -> dict[str, str]:
    return {name: f"127.0.0.1:{free_port()}" for name in ("metrics", "health")}


@pytest.mark.parametrize("protocol", ["grpc", "http"])
async def test_no_secret_is_logged_or_shown(
    sink: Sink, start_process: StartProcess, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    secret, token = "hunter2-of-the-backend", "hunter2-of-the-senders"
    sink.behave = lambda _kind, _body: Answer(14, 503, f"who is Bearer {secret}, or {secret}?")
    monkeypatch.setenv("BACKEND_TOKEN", f"Bearer {secret}")
    headers = {"authorization": "${env:BACKEND_TOKEN}"}
    exporters = {"otlp": otlp_to(sink.grpc_port, headers=headers)}
    if protocol == "http":
        exporters = {"otlp_http": {"endpoint": f"http://127.0.0.1:{sink.http_port}", "headers": headers}}
    process = await start_process(exporters)
    http = process.config["receivers"]["otlp"]["protocols"]["http"]
    http["auth"] = {"token": token}
    assert await process.stop() == 0
    process.config["telemetry"]["logs"] = {"level": "debug"}
    await process.start()
    for shown in (token, token + "x", secret):
        await post(process.http, Kind.TRACES, named(Kind.TRACES, 1), Authorization=f"Bearer {shown}")
    await _malformed(http["endpoint"], token)
    name = next(iter(exporters))
    async with asyncio.timeout(20):
        while not (text := (await process.page("health", "readyz"))[1]).count("who is"):
            await asyncio.sleep(0.02)
    assert name in text
    shown = text + (await process.page("metrics", "metrics"))[1]
    sink.behave = lambda _kind, _body: OK
    await sink.wait_for_items(1)
    assert "hunter2" in str(sink.metadata), "the backend itself gets it"
    assert await process.stop() == 0
    assert "who is" in process.log()
    assert "hunter2" not in process.log() + shown


async def _malformed(endpoint: str, token: str) -> None:
    """A request that is not HTTP, with a token in it."""
    reader, writer = await asyncio.open_connection(*endpoint.split(":"))
    writer.write(
        f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nBad Header: {token}\x00\r\n\r\n".encode()
    )
    assert b" 400 " in await reader.readline()
    writer.close()
    await writer.wait_closed()
