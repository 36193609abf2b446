"""Reading captured request bodies: `.pb`, and OTLP/JSON as one request or one a line (the Collector's file exporter)."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from otel_eval.errors import ConfigError, PermanentError, TooLargeError
from otel_eval.holding import records as holding
from otel_eval.journal import stored_bodies
from otel_eval.records import Kind, OwnKind
from otel_eval.traces.joining import read_traces
from otel_eval.traces.view import TraceView
from otel_eval.wire import check, lens, otlp_json

_TRACE_ID = re.compile("[0-9a-fA-F]{32}")


def read(files: Iterable[Path]) -> list[TraceView]:
    """The traces of all files together. Raises ConfigError that names the file when one cannot be read."""
    groups: dict[Kind, list[lens.Group]] = {Kind.TRACES: [], Kind.LOGS: []}
    for file in files:
        for kind, body in _bodies(file):
            groups[kind] += lens.groups(body)
    return read_traces(groups[Kind.TRACES], groups[Kind.LOGS])


def is_trace_id(source: str) -> bool:
    """Whether this is a trace id and not the name of a file."""
    return bool(_TRACE_ID.fullmatch(source)) and not Path(source).exists()


def find(trace_id: str, journal_directory: Path) -> list[TraceView]:
    """One trace out of the journal of a hop, running or not. Raises ConfigError when it is not there."""
    wanted = bytes.fromhex(trace_id)
    groups: dict[Kind, list[lens.Group]] = {Kind.TRACES: [], Kind.LOGS: []}
    for kind in groups:
        for body in stored_bodies(journal_directory, kind):
            if wanted in (request := bytes(body)):  # before anything is parsed
                groups[kind] += lens.groups(request)
    groups[Kind.TRACES] += _held(wanted, journal_directory, groups[Kind.TRACES])
    views = [view for view in read_traces(groups[Kind.TRACES], groups[Kind.LOGS]) if view.trace_id == trace_id.lower()]
    if not views:
        raise ConfigError(f"no trace {trace_id} in {journal_directory}; what has been delivered is kept there only briefly")
    return views


def _held(wanted: bytes, journal_directory: Path, known: Iterable[lens.Group]) -> list[lens.Group]:
    """The spans of a trace that are held back and have not gone on."""
    cuts = (holding.decode(body) for body in stored_bodies(journal_directory, OwnKind.HELD) if wanted in bytes(body))
    spans = [one for cut in cuts if isinstance(cut, holding.Cut) for one in holding.held(cut)]
    gone = {lens.span(raw).span_id for group in known for raw in group.items} if spans else set()
    return [group for root, group in spans if root.trace_id == wanted and root.span_id not in gone]


def _bodies(file: Path) -> Iterator[tuple[Kind, bytes]]:
    try:
        body = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: {(error.strerror or str(error)).lower()}") from None
    try:
        if body.lstrip()[:1] == b"{" and file.suffix != ".pb":
            yield from _json_bodies(body)
        else:
            yield _kind_of(body), body
    except PermanentError as error:
        raise ConfigError(f"{file}: {error}") from None


def _kind_of(body: bytes) -> Kind:
    """Traces and logs look alike from outside: it is the kind that parses and whose first item has ids or a time."""
    first = next(iter(lens.items(body)), None)
    if first is None:
        return Kind.TRACES
    if _parses(Kind.TRACES, body):
        span = lens.span(first)
        if len(span.trace_id) == 16 and len(span.span_id) == 8:
            return Kind.TRACES
    if _parses(Kind.LOGS, body):
        record = lens.log_record(first)
        if record.time_unix_nano or record.observed_time_unix_nano or record.body:
            return Kind.LOGS
    raise PermanentError("not an OTLP request with spans or log records")


def _parses(kind: Kind, body: bytes) -> bool:
    try:
        check.inspect(kind, body)
    except TooLargeError:
        raise
    except PermanentError:
        return False
    return True


def _json_bodies(body: bytes) -> Iterator[tuple[Kind, bytes]]:
    for line in _documents(body):
        try:
            document = json.loads(line.decode("utf-8-sig", errors="replace"))
        except (ValueError, RecursionError) as error:
            raise PermanentError(f"not JSON: {error}") from None
        names = document.keys() if isinstance(document, dict) else ()
        if "resourceLogs" in names or "resource_logs" in names:
            kind = Kind.LOGS
        elif "resourceSpans" in names or "resource_spans" in names:
            kind = Kind.TRACES
        else:
            raise PermanentError("expected OTLP/JSON with resourceSpans or resourceLogs")
        if _has_base64_ids(line):
            raise PermanentError("this is protobuf's own JSON with base64 ids; OTLP/JSON has hexadecimal ones. Use the .pb file")
        yield kind, otlp_json.to_protobuf(kind, line)


def _documents(body: bytes) -> list[bytes]:
    """One document, or one a line."""
    lines = [line for line in body.splitlines() if line.strip()]
    if len(lines) > 1:
        try:
            json.loads(lines[0])
        except ValueError:
            return [body]
        return lines
    return [body]


def _has_base64_ids(body: bytes) -> bool:
    """A trace id is 32 digits in hex and 24 characters, the last two of them padding, in base64."""
    start = body.find(b'"traceId"')
    return start >= 0 and b'=="' in body[start : start + 60]
