"""What a message becomes in ClickHouse: its inserts, one for each table, in order."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

from msgspec import DecodeError

from otel_eval.clickhouse import ledger, logs, raw, scores, spans
from otel_eval.errors import PermanentError, TooLargeError
from otel_eval.exporters import Message
from otel_eval.judging import scores as judged
from otel_eval.records import Kind, OwnKind
from otel_eval.sampling import ledger as counted

TABLES: Final = (
    "otel_traces", "otel_logs", "otel_evaluations", "otel_eval_judgements", "otel_eval_decisions", "otel_eval_traffic",
    "otel_eval_outcomes", "otel_eval_unmatched_feedback",
)  # fmt: skip

_MAX_BODY_BYTES: Final = 16 << 20
"""Of one span with its resource: taking apart what is made of empty attributes needs thirty times the memory."""

Columns = Mapping[str, Sequence[Any]]


class Insert(NamedTuple):
    """One insert: rows as columns, or requests as they came."""

    table: str
    rows: Columns | bytes


def inserts(message: Message, *, takes_raw: bool) -> list[Insert]:
    """What a message becomes. Raises PermanentError for what cannot be read, such as a dead letter that was changed."""
    try:
        return list(_inserts(message, takes_raw=takes_raw))
    except DecodeError as error:
        raise PermanentError(f"not a record of the log {message.kind}: {error}") from None


def _inserts(message: Message, *, takes_raw: bool) -> Iterator[Insert]:
    match message.kind:
        case Kind.TRACES:
            yield from _of_traces(message, takes_raw=takes_raw)
        case Kind.LOGS:
            yield Insert("otel_logs", logs.columns(map(bytes, message.bodies)))
        case OwnKind.EVALUATIONS:
            found = [one for one in map(judged.decode, message.bodies) if one is not None]
            yield Insert("otel_evaluations", scores.evaluations(found, message.hop))
            yield Insert("otel_eval_judgements", scores.judgements(found, message.hop))
        case OwnKind.LEDGER:
            yield from _of_ledger(message)
        case _:
            raise PermanentError(f"ClickHouse gets no {message.kind}")


def _of_traces(message: Message, *, takes_raw: bool) -> Iterator[Insert]:
    fitting: list[bytes] = []
    others: list[bytes] = []
    for body in map(bytes, message.bodies):
        if len(body) > _MAX_BODY_BYTES:
            raise TooLargeError(f"more than {_MAX_BODY_BYTES >> 20} MiB at once are not stored")
        (fitting if takes_raw and raw.fits(body) else others).append(body)
    if others:  # first: it is these that are refused, and then nothing of the message may be stored, since its parts come
        yield Insert("otel_traces", spans.columns(others))
    if fitting:
        yield Insert("otel_traces_in", b"".join(fitting))


def _of_ledger(message: Message) -> Iterator[Insert]:
    entries = list(chain.from_iterable(map(counted.decode, message.bodies)))
    for table, kind, columns in _LEDGER:
        if found := [entry for entry in entries if isinstance(entry, kind)]:
            yield Insert(table, columns(found, message.hop))


_LEDGER: Final[Sequence[tuple[str, type, Any]]] = (
    ("otel_eval_decisions", counted.Decided, ledger.decisions),
    ("otel_eval_traffic", counted.Traffic, ledger.traffic),
    ("otel_eval_outcomes", counted.OutcomeSeen, ledger.outcomes),
    ("otel_eval_unmatched_feedback", counted.Unmatched, ledger.unmatched),
)
