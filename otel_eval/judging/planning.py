"""What would be judged of recorded traces: the decisions about them, and a job of each chosen one."""

import tempfile
import time
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple, overload

import msgspec

from otel_eval.config.sampling import Sampling
from otel_eval.errors import ConfigError
from otel_eval.evaluators.evaluator import Scope
from otel_eval.judging import job as jobs
from otel_eval.judging.queue import Job
from otel_eval.sampling.ledger import Decided
from otel_eval.sampling.recorded import Recorded
from otel_eval.scrub.config import ScrubConfig
from otel_eval.traces.retrieval import Stored
from otel_eval.traces.view import TraceView


class Window(NamedTuple):
    """Traces that ended from `since_ns` on and before `until_ns`, in ns since 1970."""

    since_ns: int = 0
    until_ns: int = (1 << 63) - 1

    def has(self, decided: Decided) -> bool:
        """Whether the trace ended then."""
        return self.since_ns <= decided.time_ns < self.until_ns


ALWAYS: Final = Window()


class Spool(Sequence[Job]):
    """Jobs in a file without a name, which is gone with this process: only where they stand there is in memory.

    Raises ConfigError when there is no room for them.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()
        self._ends = array("Q", [0])

    def __del__(self) -> None:
        self._file.close()

    def append(self, job: Job) -> None:
        """Add one."""
        with _room():
            self._file.seek(self._ends[-1])
            self._file.write(msgspec.msgpack.encode(job))
            self._file.flush()
        self._ends.append(self._file.tell())

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, at: int) -> Job: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Job]: ...
    def __getitem__(self, at: int | slice) -> Job | Sequence[Job]:
        if isinstance(at, slice):
            return [self[index] for index in range(*at.indices(len(self)))]
        index = range(len(self))[at]
        self._file.seek(self._ends[index])
        return msgspec.msgpack.decode(self._file.read(self._ends[index + 1] - self._ends[index]), type=Job)


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(f"chosen traces cannot be kept in a temporary file: {error.strerror} (TMPDIR says where)") from None


class Plan(NamedTuple):
    """What would be judged of `traces` agent traces: a job for each, and their number by policy.

    `judged` chosen traces are left out, since they have been judged.
    """

    traces: int
    jobs: Sequence[Job]
    by_policy: Counter[str]
    judged: int = 0


class Planner:
    """Takes traces in the order in which they ended: first `decide`, then `keep` what is to be judged.

    With a cap the chosen traces of its window are held in memory until it ends. Raises ConfigError.
    """

    def __init__(self, sampling: Sampling, scrub: ScrubConfig, window: Window) -> None:
        self._recorded = Recorded(sampling)
        self._scrub = scrub
        self._window = window
        self._undecided: dict[str, TraceView] = {}
        self._jobs = Spool()
        self._by_policy: Counter[str] = Counter()
        self._traces = self._judged = 0
        self._kept: set[bytes] = set()

    def decide(self, views: Iterable[TraceView]) -> list[tuple[Decided, TraceView]]:
        """The chosen ones of the traces that are decided with these."""
        chosen: list[tuple[Decided, TraceView]] = []
        for view in views:
            self._undecided[view.trace_id] = view
            chosen += self._chosen(self._recorded.decide(view))
            if not self._recorded.waits:
                self._undecided.clear()
        return chosen

    def finish(self) -> list[tuple[Decided, TraceView]]:
        """The chosen ones of the last traces."""
        chosen = list(self._chosen(self._recorded.finish()))
        self._undecided.clear()
        return chosen

    def keep(self, chosen: Iterable[tuple[Decided, TraceView]], judged: Collection[str] = ()) -> None:
        """Make jobs of chosen traces, but not of those with these ids."""
        for decided, view in chosen:
            if view.trace_id in judged:
                self._judged += 1
                continue
            if decided.trace_id in self._kept:  # its spans lie so far apart that it came as two traces
                continue
            self._kept.add(decided.trace_id)
            stored = Stored(*view.groups, whole=True)
            self._jobs.append(jobs.make(decided, [stored], Scope.TRACE, self._scrub, time.time_ns(), 0))
            self._by_policy[decided.policy] += 1

    @property
    def plan(self) -> Plan:
        """What has come of it so far."""
        return Plan(self._traces, self._jobs, self._by_policy, self._judged)

    def _chosen(self, decisions: Iterable[Decided]) -> Iterator[tuple[Decided, TraceView]]:
        for decided in decisions:
            view = self._undecided.pop(decided.trace_id.hex(), None)
            if view is not None and decided.eligible and self._window.has(decided):
                self._traces += 1
                if decided.chosen:
                    yield decided, view


def plan(sampling: Sampling, scrub: ScrubConfig, views: Sequence[TraceView], window: Window = ALWAYS) -> Plan:
    """Decide about these traces; what ended outside of the window counts only for what policies learn. Raises ConfigError."""
    planner = Planner(sampling, scrub, window)
    ended = sorted((view for view in views if view.trace_id), key=lambda view: view.end_ns)
    planner.keep(planner.decide(ended))
    planner.keep(planner.finish())
    return planner.plan
