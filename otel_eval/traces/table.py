"""The traces that are being put together, and those that were decided a short while ago.

A trace is known here by the positions of its requests in the journal and a few numbers, so it takes less than 1 kB
whatever its prompts. Time is the journal's: a trace falls due by the arrival times that the journal has recorded, so the
same requests make the same traces due in the same order when they are read again: of those that fall due together, in
the one in which they were opened, that of the turns of a session. What comes for one that waits for its decision is late.

A trace falls due
- `quiet_period` after its last request, once a local root or an end signal has been seen, or when it came late;
- `idle_timeout` after its last request, without one;
- `max_age` after it was opened, however busy it is;
- at once, when more than `max_open` are open: the one that has been open longest.
A decided trace is remembered for `late_window`, unless more than `max_decided` are; a request for it in that time opens
it again, at most `max_revisions` times.
"""

import heapq
import itertools
from collections import deque
from typing import Final

from msgspec import Struct

from otel_eval.config.sampling import Traces
from otel_eval.records import Kind
from otel_eval.traces.entry import Arrived, Entry, Told, Trigger
from otel_eval.traces.records import Feedback

_STEP_NS: Final = 100_000_000
_STALE_PINS: Final = 1000


class Times(Struct, frozen=True):
    """When traces fall due and are forgotten, in ns."""

    quiet_period: int
    idle_timeout: int
    max_age: int
    late_window: int

    @classmethod
    def of(cls, settings: Traces) -> "Times":
        """As they are configured, in seconds."""
        return cls(*(round(getattr(settings, name) * 1e9) for name in cls.__struct_fields__))


class Limits(Struct, frozen=True):
    """How much a table holds."""

    max_open: int
    max_decided: int
    max_revisions: int


class TraceTable:
    """See the module docstring. `open`, `due` and `decided` hold each trace once; `due` is in the order of time."""

    def __init__(self, times: Times, limits: Limits) -> None:
        self.times = times
        self.limits = limits
        self.open: dict[bytes, Entry] = {}
        self.due: dict[bytes, Entry] = {}
        self.decided: dict[bytes, Entry] = {}
        self._timers: dict[int, list[bytes]] = {}  # by time in steps of _STEP_NS
        self._steps: list[int] = []  # a heap of the keys of _timers
        self._now = 0  # the steps before this one are over
        self._places = 0
        self._pins: dict[Kind, deque[tuple[int, bytes]]] = {Kind.TRACES: deque(), Kind.LOGS: deque()}

    def get(self, trace_id: bytes) -> Entry | None:
        """The trace, in whatever state."""
        return self.open.get(trace_id) or self.due.get(trace_id) or self.decided.get(trace_id)

    def is_over(self, entry: Entry) -> bool:
        """Whether the late window of a decided trace has ended."""
        return 0 < entry.decided_ns < self._now * _STEP_NS - self.times.late_window

    def observe(self, kind: Kind, trace_id: bytes, items: int, has_root: bool, start: int, end: int, now: int) -> None:
        """A request from position `start` to `end` of the log of that kind holds `items` of this trace."""
        entry = self.open.get(trace_id)
        if entry is None:
            entry = self.due.get(trace_id)
            if entry is not None:
                self._pin(kind, start, trace_id, entry)
                entry.put_behind(Arrived(kind, items, has_root, start, end, now))
                return
            entry = self._opened(trace_id, has_root, now)
        elif has_root and not entry.complete:
            self._complete(trace_id, entry, Trigger.ROOT)
        entry.last_ns = now
        self._pin(kind, start, trace_id, entry)
        entry.add(kind, items, start, end)

    def end_signal(self, trace_id: bytes) -> None:
        """The application has said that this trace is over."""
        entry = self.open.get(trace_id)
        if entry is not None and not entry.complete:
            self._complete(trace_id, entry, Trigger.END_SIGNAL)
        elif trace_id in self.due:
            self.due[trace_id].end_behind()

    def tell(self, trace_id: bytes, opinion: Feedback, now: int) -> None:
        """Something has become known of a trace that is here: a decided one falls due again, unless it knew that."""
        if (entry := self.open.get(trace_id)) is not None:
            if entry.hear(opinion) and entry.decided_ns:
                entry.trigger = Trigger.FEEDBACK
        elif (entry := self.due.get(trace_id)) is not None:
            if entry.due_ns // _STEP_NS > now // _STEP_NS:  # it was open at that time
                entry.hear(opinion)
            else:
                entry.put_opinion_behind(Told(opinion, now))
        elif (entry := self.decided.get(trace_id)) is not None and entry.hear(opinion):
            del self.decided[trace_id]
            entry.trigger = Trigger.FEEDBACK
            self._enqueue(trace_id, entry, now)

    def advance(self, now: int) -> None:
        """Move on to this time: what falls due by then goes from `open` to `due`, in steps of 100 ms."""
        step = now // _STEP_NS
        if step == self._now:
            return
        while self._steps and self._steps[0] < step:
            over = heapq.heappop(self._steps)
            fallen = []
            for trace_id in self._timers.pop(over):
                entry = self.open.get(trace_id)
                if entry is not None and entry.timer_ns // _STEP_NS == over:  # else it is of an earlier opening
                    due_ns = self._due_ns(entry)
                    if due_ns // _STEP_NS > over:
                        self._set_timer(trace_id, entry, due_ns)
                    else:
                        fallen.append((due_ns, entry.place, trace_id))
            for due_ns, _, trace_id in sorted(set(fallen)):
                self._fall_due(trace_id, self.open[trace_id], due_ns)
        self._now = step
        while self.decided and self.is_over((first := next(iter(self.decided.items())))[1]):
            del self.decided[first[0]]

    def settle(self, trace_id: bytes) -> None:
        """A due trace has been decided; `resume` is to follow."""
        entry = self.due[trace_id]
        entry.decided_ns = entry.decided_ns or entry.due_ns
        entry.revision += 1
        self.keep(trace_id)

    def keep(self, trace_id: bytes) -> None:
        """A due trace stays as it was decided; `resume` is to follow."""
        self.decided[trace_id] = self.due.pop(trace_id)
        if len(self.decided) > self.limits.max_decided:
            del self.decided[next(iter(self.decided))]

    def drop(self, trace_id: bytes) -> None:
        """A due trace turned out to be none."""
        self._go_on(trace_id, self.due.pop(trace_id).behind)

    def resume(self, trace_id: bytes) -> None:
        """Take in what came for a trace while it waited for its decision."""
        entry = self.decided.get(trace_id)
        if entry is not None and entry.behind:
            behind, entry.behind = entry.behind, ()
            self._go_on(trace_id, behind)

    def lowest(self, kind: Kind) -> int | None:
        """The lowest position in the log of that kind that a trace here needs."""
        pins = self._pins[kind]
        while pins and not self._holds(kind, *pins[0]):
            pins.popleft()
        return pins[0][0] if pins else None

    def forget_decided(self, kind: Kind, position: int) -> None:
        """Forget decided traces that need what stands before this position of the log."""
        for trace_id in self._before(kind, position):
            self.decided.pop(trace_id, None)

    def evict(self, kind: Kind, position: int) -> None:
        """Let open traces fall due now that need what stands before this position of the log."""
        for trace_id in self._before(kind, position):
            if trace_id in self.open:
                self._make_due(trace_id, self.open[trace_id], self._now * _STEP_NS, Trigger.EVICTED)

    def restore(self, opened: dict[bytes, Entry], due: dict[bytes, Entry], decided: dict[bytes, Entry]) -> None:
        """Go on with what another one held."""
        self.open, self.due, self.decided = opened, due, decided
        self._places = max((entry.place for entry in opened.values()), default=0)
        for trace_id, entry in opened.items():
            self._set_timer(trace_id, entry, entry.timer_ns)
        for kind in self._pins:
            traces = (one for traces in (opened, due, decided) for one in traces.items())
            lowest = ((entry.lowest(kind), trace_id) for trace_id, entry in traces)
            self._pins[kind] = deque(sorted((position, trace_id) for position, trace_id in lowest if position is not None))

    def _before(self, kind: Kind, position: int) -> list[bytes]:
        """The traces whose first request stands before this position."""
        pins = itertools.takewhile(lambda pin: pin[0] < position, self._pins[kind])
        return [trace_id for start, trace_id in pins if self._holds(kind, start, trace_id)]

    def _holds(self, kind: Kind, position: int, trace_id: bytes) -> bool:
        entry = self.get(trace_id)
        return entry is not None and entry.lowest(kind) == position

    def _pin(self, kind: Kind, position: int, trace_id: bytes, entry: Entry) -> None:
        """Note the position of a trace's first request of a kind; pins are in order, and the stale ones are not many."""
        if entry.lowest(kind) is not None:
            return
        pins = self._pins[kind]
        if len(pins) > 2 * (len(self.open) + len(self.due) + len(self.decided)) + _STALE_PINS:
            pins = self._pins[kind] = deque(pin for pin in pins if self._holds(kind, *pin))
        later = []
        while pins and pins[-1][0] > position:
            later.append(pins.pop())
        pins.append((position, trace_id))
        pins.extend(reversed(later))

    def _opened(self, trace_id: bytes, has_root: bool, now: int) -> Entry:
        entry = self.decided.get(trace_id)
        if entry is not None and self.is_over(entry):
            del self.decided[trace_id]
            entry = None
        if entry is not None and entry.revision > self.limits.max_revisions:
            entry.complete = entry.complete or has_root
            return entry
        if len(self.open) >= self.limits.max_open:
            oldest = next(iter(self.open))
            self._make_due(oldest, self.open[oldest], now, Trigger.EVICTED)
        if entry is None:
            entry = Entry(now, now, complete=has_root, trigger=Trigger.ROOT if has_root else Trigger.IDLE)
        else:
            del self.decided[trace_id]
            entry.opened_ns, entry.last_ns, entry.trigger = now, now, Trigger.LATE
            entry.complete = entry.complete or has_root
        self._places = entry.place = self._places + 1
        self.open[trace_id] = entry
        self._set_timer(trace_id, entry, self._due_ns(entry))
        return entry

    def _go_on(self, trace_id: bytes, behind: tuple[Arrived | Told, ...]) -> None:
        """Do with a trace what would have been done, had it been decided the moment it fell due."""
        for at, one in enumerate(behind):
            entry = self.open.get(trace_id)
            if entry is not None and (due_ns := self._due_ns(entry)) // _STEP_NS < one.time_ns // _STEP_NS:
                self._fall_due(trace_id, entry, due_ns)
            if (entry := self.due.get(trace_id)) is not None:
                for other in behind[at:]:
                    if isinstance(other, Arrived):
                        self._pin(other.kind, other.start, trace_id, entry)
                entry.behind = behind[at:]
                return
            if isinstance(one, Told):
                self.tell(trace_id, one.opinion, one.time_ns)
            else:
                self.observe(one.kind, trace_id, one.items, one.has_root, one.start, one.end, one.time_ns)
        entry = self.open.get(trace_id)
        if entry is not None and (due_ns := self._due_ns(entry)) // _STEP_NS < self._now:
            self._fall_due(trace_id, entry, due_ns)

    def _complete(self, trace_id: bytes, entry: Entry, trigger: Trigger) -> None:
        entry.complete = True
        if not entry.decided_ns:
            entry.trigger = trigger
        if entry.timer_ns > (due_ns := self._due_ns(entry)):  # waits for longer than it need
            self._set_timer(trace_id, entry, due_ns)

    def _due_ns(self, entry: Entry) -> int:
        times = self.times
        by_silence = entry.last_ns + (times.quiet_period if entry.complete or entry.decided_ns else times.idle_timeout)
        by_age = entry.opened_ns + times.max_age
        return by_silence if by_silence < by_age else by_age

    def _set_timer(self, trace_id: bytes, entry: Entry, due_ns: int) -> None:
        entry.timer_ns = due_ns
        step = due_ns // _STEP_NS
        waiting = self._timers.get(step)
        if waiting is None:
            self._timers[step] = [trace_id]
            heapq.heappush(self._steps, step)
        else:
            waiting.append(trace_id)

    def _fall_due(self, trace_id: bytes, entry: Entry, due_ns: int) -> None:
        aged = due_ns == entry.opened_ns + self.times.max_age
        self._make_due(trace_id, entry, due_ns, Trigger.MAX_AGE if aged else entry.trigger)

    def _make_due(self, trace_id: bytes, entry: Entry, due_ns: int, trigger: Trigger) -> None:
        del self.open[trace_id]
        entry.timer_ns = 0
        if not entry.decided_ns:
            entry.trigger = trigger
        self._enqueue(trace_id, entry, due_ns)

    def _enqueue(self, trace_id: bytes, entry: Entry, due_ns: int) -> None:
        """Before those that fell due in a later step, if there are any."""
        entry.due_ns = due_ns
        step = due_ns // _STEP_NS
        later = []
        if self.due and next(reversed(self.due.values())).due_ns // _STEP_NS > step:
            later = [one for one in self.due.items() if one[1].due_ns // _STEP_NS > step]
        self.due[trace_id] = entry
        for other, waiting in later:
            del self.due[other]
            self.due[other] = waiting
