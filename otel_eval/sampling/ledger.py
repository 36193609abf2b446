"""The ledger: what became of every trace, and how much traffic there was, judged or not.

It is the log `ledger` of the journal. Each record is a MessagePack list of the entries below (msgspec, tagged). A reader
gets each entry at least once; a decision is told apart by trace and revision, the others by their id or flush.

Counts are differences: a trace whose class changes with a later decision is taken out of its old row, in its old minute,
and put into the new one. The sum over all rows of a minute and cell is right at any time.
"""

import contextlib
import math
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
from msgspec import Struct

from otel_eval.sampling.facts import Facts
from otel_eval.traces.entry import Trigger

MINUTE_NS: Final = 60 * 10**9
MINUTE_MS: Final = 60_000
MAX_CELLS: Final = 5000
"""So many different cells a minute; what comes on top is counted with the cell's names replaced by `other`."""

_BINS_PER_DECADE: Final = 10
_MINUTES_ONE_BY_ONE: Final = 60
"""After so many minutes without any traffic nothing changes from one to the next."""
_MAX_TOKENS: Final = 10**11
_MAX_USD: Final = 1e9
"""What one trace claims to have used counts up to here: sums must stay sums."""


class Decided(Struct, frozen=True, kw_only=True, tag="decided", omit_defaults=True):
    """One decision about one trace; a later `revision` replaces the ones before it.

    `pi` is the probability with which the trace is chosen, sampling before us included, and `own_pi` our part of it. It is
    chosen iff u <= own_pi with u = (2^56 - r) / 2^56, unless it is `capped`: a cap compares the numbers of a window.
    `wanted` is what the policies asked for, each in `rates`; a cap may leave less of it. `upstream_pi` is None where
    nothing was said of sampling before us. `eligible` is False for what is no agent's trace. `pressure` is the
    level of the judges' budget or queue that has lowered the rates. `unread`: there was no time to look at it, or nothing
    left of it. `minute` and the names from `signal_class` on are those of the cell in which the trace is counted (see
    Traffic); `start_ns` and `duration_ns` are the trace's own.
    """

    trace_id: bytes
    time_ns: int
    revision: int
    trigger: Trigger
    pi: float
    own_pi: float
    wanted: float
    r: int
    r_source: str
    chosen: bool
    upstream_pi: float | None = None
    rates: dict[str, float] = {}
    policy: str = ""
    signals: dict[str, str] = {}
    stratum: str = ""
    service: str = ""
    spans: int = 0
    complete: bool = True
    whole: bool = True
    eligible: bool = True
    capped: bool = False
    pressure: int = 0
    unread: bool = False
    minute: int = 0
    signal_class: str = ""
    service_version: str = ""
    model: str = ""
    prompt_version: str = ""
    start_ns: int = 0
    duration_ns: int = 0


class Traffic(Struct, kw_only=True, tag="traffic", omit_defaults=True):
    """Counts of one cell in one minute since 1970. `flushed` tells apart what is written at different times: ms since 1970.

    What is written at the end of a minute has the beginning of that minute there; any other time is that of a stop.
    `latency` counts traces by duration: bin b holds those below 10^(b/10) ms. `errors` counts traces with an error.
    """

    minute: int
    flushed: int = 0
    service: str = ""
    service_version: str = ""
    stratum: str = ""
    signal_class: str = ""
    policy: str = ""
    model: str = ""
    prompt_version: str = ""
    eligible: bool = True
    traces: int = 0
    chosen: int = 0
    spans: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    latency: dict[int, int] = {}

    def cell(self) -> tuple[object, ...]:
        """What tells rows apart."""
        names = (self.service, self.service_version, self.stratum, self.signal_class, self.policy, self.model)
        return (self.minute, self.eligible, *names, self.prompt_version)

    def follow(self, decided: Decided) -> None:
        """Count one trace where its decision has it, which may be an earlier one than that of this row."""
        self.chosen = int(decided.chosen)
        for name in (*_NAMES, "spans"):
            setattr(self, name, getattr(decided, name))


class OutcomeSeen(Struct, frozen=True, kw_only=True, tag="outcome", omit_defaults=True):
    """What became of a goal, as the application told."""

    id: str
    time_ns: int
    goal_id: str = ""
    trace_id: bytes = b""
    success: bool | None = None
    score: float | None = None
    metadata: dict[str, str] = {}


class Unmatched(Struct, frozen=True, kw_only=True, tag="unmatched", omit_defaults=True):
    """Feedback whose trace did not come within the late window, or was decided longer ago."""

    id: str
    time_ns: int
    target: str
    kind: str
    label: str = ""


Entry = Decided | Traffic | OutcomeSeen | Unmatched
_decoder = msgspec.msgpack.Decoder(list[Entry])
_raw_decoder = msgspec.msgpack.Decoder(list[msgspec.Raw])
_entry_decoder = msgspec.msgpack.Decoder[Entry](Entry)
_row_decoder = msgspec.msgpack.Decoder(Traffic)


def encode(entries: list[Entry]) -> bytes:
    """The body of a ledger record."""
    return msgspec.msgpack.encode(entries)


def decode(body: bytes | memoryview) -> list[Entry]:
    """The entries of a ledger record; those of a later version that are not known here are no error for the others."""
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError:
        return list(_known(_raw_decoder.decode(body)))


def _known(entries: Iterable[msgspec.Raw]) -> Iterator[Entry]:
    for entry in entries:
        with contextlib.suppress(msgspec.ValidationError):
            yield _entry_decoder.decode(entry)


def row_of(facts: Facts, *, minute: int, stratum: str, policy: str, chosen: bool) -> Traffic:
    """How one trace counts."""
    view = facts.view
    usage = view.usage
    return Traffic(
        minute=minute,
        service=(view.service_name or "")[:100],
        service_version=facts.attribute("service.version"),
        stratum=stratum,
        signal_class=facts.signal_class,
        policy=policy,
        model=facts.model,
        prompt_version=facts.prompt_version,
        eligible=facts.is_agent,
        traces=1,
        chosen=int(chosen),
        spans=view.span_count,
        errors=int(facts.failed),
        input_tokens=min(usage.input_tokens or 0, _MAX_TOKENS),
        output_tokens=min(usage.output_tokens or 0, _MAX_TOKENS),
        cost_usd=min(max(0.0, view.cost_usd or 0.0), _MAX_USD),
        latency={latency_bin(view.duration_s): 1},
    )


def latency_bin(seconds: float) -> int:
    """The histogram bin of a duration, from 0 (below 1 ms) to 80.

    >>> latency_bin(0.0005), latency_bin(1.0), latency_bin(1.3)
    (0, 31, 32)
    """
    milliseconds = seconds * 1000
    return 0 if milliseconds < 1 else min(80, math.floor(math.log10(milliseconds) * _BINS_PER_DECADE) + 1)


def minutes_between(last: int, now: int) -> Iterable[int]:
    """The minutes after `last` up to `now`: where there are very many, the first ones and the last."""
    first = last + 1 if last else now
    return (*range(first, min(now, first + _MINUTES_ONE_BY_ONE)), now)


class TrafficBook:
    """The counts that have not been written yet."""

    def __init__(self, rows: Iterable[Traffic] = ()) -> None:
        self._rows = {row.cell(): row for row in rows}

    def replace(self, old: bytes, new: Traffic) -> bytes:
        """Count a trace as `new`, and no longer as what `replace` gave before; gives what to hand over next time."""
        if old:
            self._add(_row_decoder.decode(old), -1)
        if len(self._rows) >= MAX_CELLS and new.cell() not in self._rows:
            new = msgspec.structs.replace(new, **dict.fromkeys(_CAPPED, "other"))
        self._add(new, 1)
        return msgspec.msgpack.encode(new)

    def rows(self) -> Iterator[Traffic]:
        """All rows that count something."""
        return (row for row in self._rows.values() if _counts(row))

    def take_out(self, row: Traffic) -> None:
        """Count without these: they have been written."""
        self._add(row, -1)

    def clear(self) -> None:
        """They have been written."""
        self._rows.clear()

    def _add(self, row: Traffic, sign: int) -> None:
        total = self._rows.get(row.cell())
        if total is None:
            names = {name: getattr(row, name) for name in _NAMES}
            total = self._rows[row.cell()] = Traffic(latency={}, **names)
        for name in _SUMS:
            setattr(total, name, getattr(total, name) + sign * getattr(row, name))
        for at, count in row.latency.items():
            total.latency[at] = total.latency.get(at, 0) + sign * count


def _counts(row: Traffic) -> bool:
    return any(getattr(row, name) for name in _SUMS) or any(row.latency.values())


_NAMES: Final = (
    "minute", "service", "service_version", "stratum", "signal_class", "policy", "model", "prompt_version", "eligible",
)  # fmt: skip
_CAPPED: Final = ("service", "service_version", "stratum", "model", "prompt_version")
_SUMS: Final = ("traces", "chosen", "spans", "errors", "input_tokens", "output_tokens", "cost_usd")
