"""The table of traces against a model that keeps every event and looks at all traces each time."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from otel_eval.records import Kind
from otel_eval.traces.entry import Entry, Trigger
from otel_eval.traces.records import Feedback
from otel_eval.traces.table import Limits, Times, TraceTable

S = 10**9
STEP = S // 10
TIMES = Times(quiet_period=2 * S, idle_timeout=10 * S, max_age=30 * S, late_window=60 * S)
LIMITS = Limits(max_open=4, max_decided=5, max_revisions=2)
OPINIONS = [Feedback(kind, "", positive=positive) for kind in ("thumbs", "edit") for positive in (True, False)]

numbers = st.integers(1, 8)
kinds = st.sampled_from([Kind.TRACES, Kind.LOGS])
delays = st.sampled_from([0, S // 20, S // 3, S, 2 * S, 5 * S, 12 * S, 40 * S, 70 * S])


Entries = dict[bytes, Entry]


@dataclass
class Model:
    """One trace: what happened to it since it was opened for the first time."""

    opened: int
    last: int
    root: bool
    trigger: Trigger
    where: str = "open"
    due: int = 0
    decided: int = 0
    revision: int = 0
    requests: list[tuple[Kind, int, int]] = field(default_factory=list)
    heard: list[Feedback] = field(default_factory=list)
    behind: list[tuple[Any, ...]] = field(default_factory=list)

    def falls_due(self) -> int:
        quiet = TIMES.quiet_period if self.root or self.decided else TIMES.idle_timeout
        return min(self.last + quiet, self.opened + TIMES.max_age)

    def first(self, kind: Kind) -> int | None:
        known = [start for one, start, _ in self.requests if one is kind]
        return min(known or [event[1] for event in self.behind if event[0] is kind], default=None)


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


class TableMachine(RuleBasedStateMachine):
    """Every trace is in `traces`, in the order in which it came to where it is now."""

    def __init__(self) -> None:
        super().__init__()
        self.table = TraceTable(TIMES, LIMITS)
        self.traces: dict[int, Model] = {}
        self.now = 1000 * S
        self.step = 0
        self.end = {Kind.TRACES: 0, Kind.LOGS: 0}
        self.move(0)

    def having(self, where: str) -> list[tuple[int, Model]]:
        return [(number, model) for number, model in self.traces.items() if model.where == where]

    def put(self, number: int, model: Model, where: str) -> None:
        """To the end of those there; of the due ones before those that fell due in a later step."""
        model.where = where
        self.traces.pop(number, None)
        later = [one for one in self.having("due") if where == "due" and one[1].due // STEP > model.due // STEP]
        self.traces[number] = model
        for one, waiting in later:
            del self.traces[one]
            self.traces[one] = waiting

    def make_due(self, number: int, due: int, trigger: Trigger | None = None) -> None:
        model = self.traces[number]
        model.due = due
        if not model.decided and trigger is not None:
            model.trigger = trigger
        self.put(number, model, "due")

    def is_over(self, model: Model) -> bool:
        return 0 < model.decided < self.step * STEP - TIMES.late_window

    def move(self, delay: int) -> None:
        self.now += delay
        self.table.advance(self.now)
        if self.now // STEP == self.step:
            return
        ready = [(model.falls_due(), number) for number, model in self.having("open")]  # as they were opened
        for due, number in sorted((one for one in ready if one[0] // STEP < self.now // STEP), key=lambda one: one[0]):
            self.fall_due(number, due)
        self.step = self.now // STEP
        self.forget()

    def forget(self) -> None:
        for number, model in self.having("decided"):
            if not self.is_over(model):
                break
            del self.traces[number]

    def fall_due(self, number: int, due: int) -> None:
        aged = due == self.traces[number].opened + TIMES.max_age
        self.make_due(number, due, Trigger.MAX_AGE if aged else None)

    def arrive(self, number: int, kind: Kind, start: int, end: int, root: bool, now: int) -> None:
        model = self.traces.get(number)
        if model is not None and model.where == "due":
            model.behind.append((kind, start, end, root, now))
            return
        if model is None or (model.where == "decided" and self.is_over(model)):
            self.traces.pop(number, None)
            self.make_room(now)
            model = Model(now, now, root, Trigger.ROOT if root else Trigger.IDLE)
            self.put(number, model, "open")
        elif model.where == "decided" and model.revision <= LIMITS.max_revisions:
            self.make_room(now)
            model.opened, model.trigger = now, Trigger.LATE
            self.put(number, model, "open")
        elif model.where == "open" and root and not model.root and not model.decided:
            model.trigger = Trigger.ROOT
        model.root |= root
        model.last = now
        model.requests.append((kind, start, end))

    def make_room(self, now: int) -> None:
        opened = self.having("open")
        if len(opened) >= LIMITS.max_open:
            self.make_due(opened[0][0], now, Trigger.EVICTED)

    def hear(self, number: int, opinion: Feedback, now: int) -> None:
        model = self.traces.get(number)
        if model is None:
            return
        if model.where == "due" and model.due // STEP <= now // STEP:
            if opinion not in model.heard and ("told", opinion) not in [event[:2] for event in model.behind]:
                model.behind.append(("told", opinion, now))
            return
        if opinion in model.heard:
            return
        model.heard.append(opinion)
        if model.where == "open" and model.decided:
            model.trigger = Trigger.FEEDBACK
        if model.where == "decided":
            model.trigger = Trigger.FEEDBACK
            self.make_due(number, now)

    def take_in(self, number: int, behind: list[tuple[Any, ...]]) -> None:
        """What would have happened, had the trace been decided when it fell due."""
        for at, event in enumerate(behind):
            model = self.traces.get(number)
            now = event[-1]
            if model is not None and model.where == "open" and model.falls_due() // STEP < now // STEP:
                self.fall_due(number, model.falls_due())
            if model is not None and model.where == "due":
                model.behind = behind[at:]
                return
            if event[0] == "told":
                self.hear(number, event[1], now)
            else:
                self.arrive(number, *event)
        model = self.traces.get(number)
        if model is not None and model.where == "open" and model.falls_due() // STEP < self.step:
            self.fall_due(number, model.falls_due())

    @rule(number=numbers, kind=kinds, root=st.booleans(), delay=delays, gap=st.integers(0, 1))
    def request(self, number: int, kind: Kind, root: bool, delay: int, gap: int) -> None:
        self.move(delay)
        start = self.end[kind] + 100 * gap
        end = self.end[kind] = start + 100
        root = root and kind is Kind.TRACES
        self.table.observe(kind, key(number), 1, root, start, end, self.now)
        self.arrive(number, kind, start, end, root, self.now)

    @rule(number=numbers, root=st.booleans())
    def request_with_an_end_signal(self, number: int, root: bool) -> None:
        self.request(number, Kind.TRACES, root, 0, 0)
        self.table.end_signal(key(number))
        model = self.traces[number]
        if model.where == "due":
            kind, start, end, _, now = model.behind[-1]
            model.behind[-1] = (kind, start, end, True, now)
        elif model.where == "open" and not model.root:
            model.root = True
            model.trigger = model.trigger if model.decided else Trigger.END_SIGNAL

    @rule(number=numbers, opinion=st.sampled_from(OPINIONS), ago=st.sampled_from([0, S, 5 * S]))
    def tell(self, number: int, opinion: Feedback, ago: int) -> None:
        """At this time, or (what another trace tells) when that one fell due."""
        self.table.tell(key(number), opinion, self.now - ago)
        self.hear(number, opinion, self.now - ago)

    @rule(delay=delays)
    def wait(self, delay: int) -> None:
        self.move(delay)

    @precondition(lambda self: self.table.due)
    @rule(outcome=st.sampled_from(["settle", "settle", "settle", "keep", "drop"]))
    def decide(self, outcome: str) -> None:
        number, model = self.having("due")[0]
        trace_id = key(number)
        behind, model.behind = model.behind, []
        if outcome == "drop":
            self.table.drop(trace_id)
            del self.traces[number]
        else:
            getattr(self.table, outcome)(trace_id)
            if outcome == "settle":
                model.decided = model.decided or model.due
                model.revision += 1
            self.put(number, model, "decided")
            decided = self.having("decided")
            if len(decided) > LIMITS.max_decided:
                del self.traces[decided[0][0]]
            self.table.resume(trace_id)
        self.take_in(number, behind)

    @rule(kind=kinds, part=st.floats(0, 1))
    def give_up(self, kind: Kind, part: float) -> None:
        position = int(part * self.end[kind])
        self.table.forget_decided(kind, position)
        self.table.evict(kind, position)
        needed = [(first, number) for number, model in self.traces.items() if (first := model.first(kind)) is not None]
        for _, number in sorted(one for one in needed if one[0] < position):
            if self.traces[number].where == "decided":
                del self.traces[number]
            elif self.traces[number].where == "open":
                self.make_due(number, self.step * STEP, Trigger.EVICTED)

    @rule()
    def restart(self) -> None:
        stored = msgspec.msgpack.encode((self.table.open, self.table.due, self.table.decided))
        self.table = TraceTable(TIMES, LIMITS)
        self.table.restore(
            *msgspec.msgpack.decode(stored, type=tuple[dict[bytes, Entry], dict[bytes, Entry], dict[bytes, Entry]])
        )
        self.table.advance(self.now)
        self.forget()

    @invariant()
    def the_table_is_as_the_model(self) -> None:
        for where in ("open", "due", "decided"):
            traces: dict[bytes, Entry] = getattr(self.table, where)
            assert list(traces) == [key(number) for number, _ in self.having(where)], where
            for number, model in self.having(where):
                self.compare(traces[key(number)], model)

    def compare(self, entry: Entry, model: Model) -> None:
        assert (entry.trigger, entry.complete, entry.revision) == (model.trigger, model.root, model.revision)
        assert (entry.decided_ns, list(entry.heard)) == (model.decided, model.heard)
        assert model.where != "due" or entry.due_ns == model.due
        for kind, count in ((Kind.TRACES, entry.spans), (Kind.LOGS, entry.records)):
            own = [(start, end) for one, start, end in model.requests if one is kind]
            assert count == len(own)
            ranges = entry.ranges(kind)
            assert all(any(low <= start and end <= high for low, high in ranges) for start, end in own)
            assert not own or (ranges[0][0], ranges[-1][1]) == (own[0][0], own[-1][1])

    @invariant()
    def the_lowest_position_is_known(self) -> None:
        for kind in (Kind.TRACES, Kind.LOGS):
            assert self.table.lowest(kind) == min(
                (first for model in self.traces.values() if (first := model.first(kind)) is not None), default=None
            )


TableMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
test_the_table_behaves_like_the_model = TableMachine.TestCase
