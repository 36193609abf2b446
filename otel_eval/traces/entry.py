"""What is known of one trace while it is put together."""

import struct
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from otel_eval.records import Kind
from otel_eval.traces.records import Feedback

MAX_RANGES: Final = 16
MAX_HEARD: Final = 16
"""So many opinions of a trace are kept; one more of the same kind and direction adds nothing and is not."""

_MAX_BEHIND: Final = 16
_RANGE: Final = struct.Struct("<QQ")


class Trigger(StrEnum):
    """Why a trace was decided when it was."""

    ROOT = "root"
    END_SIGNAL = "end_signal"
    IDLE = "idle"
    MAX_AGE = "max_age"
    EVICTED = "evicted"
    LATE = "late"
    FEEDBACK = "feedback"


class Arrived(Struct, frozen=True, array_like=True, tag="arrived"):
    """A request from position `start` to `end` of the log of that kind holds `items` of a trace."""

    kind: Kind
    items: int
    has_root: bool
    start: int
    end: int
    time_ns: int


class Told(Struct, frozen=True, array_like=True, tag="told"):
    """An opinion about a trace has been heard."""

    opinion: Feedback
    time_ns: int


class Entry(Struct, array_like=True):
    """One trace. Times in ns of the journal's clock; `spans_at` and `logs_at` are packed ranges of journal positions.

    `complete` says that a local root or an end signal has been seen; `place` grows from each that is opened to the next.
    `due_ns` is the time at which it fell or falls due, `timer_ns` the one that it waits for, 0 for none.
    `decided_ns` is that of the first decision, 0 before it; `revision` counts decisions. `behind` is what came while it
    waited for its decision, and counts for the next one.

    What the sampler keeps with a trace: its random number `r` and where that is from, its probability `pi`, the
    rate `wanted` for it, whether it is `chosen`, how it was `counted`, and feedback `heard` from elsewhere. `first`: a
    first decision was made when its root came, and `holds` says whether its local roots are held back, `held` which were.
    """

    opened_ns: int
    last_ns: int
    due_ns: int = 0
    timer_ns: int = 0
    decided_ns: int = 0
    revision: int = 0
    spans: int = 0
    records: int = 0
    complete: bool = False
    trigger: Trigger = Trigger.IDLE
    spans_at: bytes = b""
    logs_at: bytes = b""
    r: int = 0
    r_source: str = ""
    pi: float = 0.0
    wanted: float = 0.0
    chosen: bool = False
    counted: bytes = b""
    heard: tuple[Feedback, ...] = ()
    behind: tuple[Arrived | Told, ...] = ()
    first: bool = False
    holds: bool = False
    held: tuple[bytes, ...] = ()
    place: int = 0

    def ranges(self, kind: Kind) -> list[tuple[int, int]]:
        """Where its requests of this kind are in the journal: from, to."""
        return list(_RANGE.iter_unpack(self._packed(kind)))

    def lowest(self, kind: Kind) -> int | None:
        """Where its first request of this kind is."""
        packed = self._packed(kind)
        if packed:
            return int(_RANGE.unpack_from(packed)[0])
        return next((one.start for one in self.behind if isinstance(one, Arrived) and one.kind is kind), None)

    def add(self, kind: Kind, items: int, start: int, end: int) -> None:
        """Another request holds so many of its spans or log records."""
        if kind is Kind.TRACES:
            self.spans += items
            self.spans_at = add_range(self.spans_at, start, end)
        else:
            self.records += items
            self.logs_at = add_range(self.logs_at, start, end)

    def hear(self, opinion: Feedback) -> bool:
        """Remember an opinion; False when it adds nothing to what is known."""
        if not _is_new(opinion, self.heard):
            return False
        self.heard = (*self.heard, opinion)
        return True

    def put_behind(self, one: Arrived) -> None:
        """Keep a request for the next decision; of very many the last ones of a kind become one."""
        last = None
        if len(self.behind) >= _MAX_BEHIND:
            last = next((other for other in reversed(self.behind) if isinstance(other, Arrived) and other.kind is one.kind), None)
        if last is not None:
            items, has_root = last.items + one.items, last.has_root or one.has_root
            one = replace(one, items=items, has_root=has_root, start=last.start)
        self.behind = (*(other for other in self.behind if other is not last), one)

    def put_opinion_behind(self, one: Told) -> None:
        """Keep an opinion for the next decision."""
        waiting = [other.opinion for other in self.behind if isinstance(other, Told)]
        if _is_new(one.opinion, (*self.heard, *waiting)):
            self.behind = (*self.behind, one)

    def end_behind(self) -> None:
        """The application has said that the trace is over, in the last request that has come for the next decision."""
        if self.behind and isinstance(last := self.behind[-1], Arrived):
            self.behind = (*self.behind[:-1], replace(last, has_root=True))

    def _packed(self, kind: Kind) -> bytes:
        return self.spans_at if kind is Kind.TRACES else self.logs_at


def add_range(packed: bytes, start: int, end: int) -> bytes:
    """The ranges with a later one behind them; beyond MAX_RANGES the two that are nearest become one."""
    if packed:
        last_start, last_end = _RANGE.unpack_from(packed, len(packed) - _RANGE.size)
        if start <= last_end:
            return packed[: -_RANGE.size] + _RANGE.pack(last_start, max(end, last_end))
    packed += _RANGE.pack(start, end)
    if len(packed) <= MAX_RANGES * _RANGE.size:
        return packed
    ranges = list(_RANGE.iter_unpack(packed))
    nearest = min(range(1, len(ranges)), key=lambda index: ranges[index][0] - ranges[index - 1][1])
    ranges[nearest - 1 : nearest + 1] = [(ranges[nearest - 1][0], ranges[nearest][1])]
    return b"".join(_RANGE.pack(*one) for one in ranges)


def _is_new(opinion: Feedback, known: Sequence[Feedback]) -> bool:
    said = (opinion.kind, opinion.positive)
    return len(known) < MAX_HEARD and all(said != (other.kind, other.positive) for other in known)
