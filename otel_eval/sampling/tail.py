"""The tail sampler: it puts traces together, decides about each, and writes the ledger. See the package docstring."""

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Final

import structlog
from msgspec.structs import replace

from otel_eval.config.sampling import Sampling, Traces
from otel_eval.errors import RetryableError
from otel_eval.holding import HeldSpans
from otel_eval.journal import Journal, Record
from otel_eval.records import Kind
from otel_eval.sampling import checkpoint
from otel_eval.sampling.cap import Cap, Resolved
from otel_eval.sampling.deciding import Decider, Draft
from otel_eval.sampling.desk import Desk
from otel_eval.sampling.end_signal import ends_trace
from otel_eval.sampling.first import FirstDecisions
from otel_eval.sampling.handing_over import HandingOver, Judges
from otel_eval.sampling.ledger import MINUTE_MS, MINUTE_NS, TrafficBook, minutes_between
from otel_eval.sampling.replaying import replay
from otel_eval.sampling.retention import Retention
from otel_eval.sampling.sessions import SessionMemory
from otel_eval.sampling.writing import LedgerWriter
from otel_eval.telemetry import Metrics
from otel_eval.traces.entry import Entry
from otel_eval.traces.records import Feedback
from otel_eval.traces.retrieval import Requests, Stored
from otel_eval.traces.table import Limits, Times, TraceTable
from otel_eval.wire.check import Inspection

_log = structlog.get_logger(__name__)

_TICK_S: Final = 0.1
_THREAD_FROM: Final = 300  # traces with so many spans and records are looked at in a thread


class TailSampler:
    """Use from one event loop: `prepare`, then `observe` for each journaled request while `run` works, then `close`."""

    def __init__(
        self,
        traces: Traces,
        sampling: Sampling,
        journal: Journal,
        metrics: Metrics,
        directory: Path,
        held: HeldSpans,
        judges: Judges | None = None,
    ) -> None:
        self._journal = journal
        self._metrics = metrics
        self._end_signal = traces.end_signal
        self.table = TraceTable(Times.of(traces), Limits(traces.max_open, traces.max_decided, traces.max_revisions))
        path = directory / "sampler.checkpoint"
        self._checkpoints = checkpoint.Checkpoints(path, metrics)
        saved = checkpoint.load(path)
        journal.clock.start_after(saved.time_ns)
        sessions = SessionMemory()
        sessions.restore(saved.sessions)
        states = {"strata": saved.strata, "uncertainty": saved.uncertainty}
        self._decider = Decider(sampling, {name: state for name, state in states.items() if state}, sessions, saved.ids)
        self._cap = Cap(sampling.cap, saved.spent) if sampling.cap is not None else None
        self._book = TrafficBook(saved.traffic)
        self._minute = saved.minute
        self._window_ns = saved.window_ns
        self._window = saved.window
        logs = {kind: journal.logs[kind] for kind in (Kind.TRACES, Kind.LOGS)}
        self._requests = Requests(logs, held)
        self._held = held
        held.saved = min(saved.held, held.end)
        held.remembers = lambda trace_id: self.table.get(trace_id) is not None
        self.first = FirstDecisions(self.table, self._requests, self._decider, held, metrics)
        self._read = {kind: min(max(saved.read.get(kind, 0), log.start), log.end) for kind, log in logs.items()}
        self._ledger = LedgerWriter(journal, saved.ledger, saved.waiting)
        self._caught_up = False
        self._next_tidying = 0.0
        self.table.restore(saved.open, saved.due, saved.decided)
        self.desk = Desk(self.table, self._ledger, metrics)
        self.desk.hearing.restore(saved.heard)
        self._handing_over = HandingOver(judges, self._requests, self.table, saved.chosen, saved.quiet)
        self._retention = Retention(journal, self.table, self._read)
        self._show()

    async def prepare(self) -> None:
        """Catch up with what the journal holds behind the last checkpoint, deciding what fell due in between."""
        self._ledger.read_back(self._book)
        started = time.monotonic()
        held = self._held.saved
        records = await replay(self._journal, self._read, held, self._until, self._observe, self.first.observe)
        await self._until(self._journal.clock.now())
        self._caught_up = True
        if records:
            _log.info("caught up with the journal", requests=records, seconds=round(time.monotonic() - started, 2))

    def observe(self, kind: Kind, record: Record, found: Inspection, body: bytes) -> None:
        """A request has been journaled."""
        self._observe(kind, record, found, body)
        while len(self.table.due) > self.table.limits.max_open:
            self._pass_over(*next(iter(self.table.due.items())))

    def _observe(self, kind: Kind, record: Record, found: Inspection, body: bytes) -> None:
        if kind not in self._read:
            return
        table, now = self.table, record.time_ns
        table.advance(now)
        for trace_id, items, has_root in found.arrivals:
            table.observe(kind, trace_id, items, has_root, record.position, record.end, now)
        self._read[kind] = record.end
        if kind is Kind.LOGS:
            self.desk.listen(body, now)
        elif self._end_signal is not None:
            for trace_id in ends_trace(self._end_signal, body):
                table.end_signal(trace_id)

    async def run(self) -> None:
        """Decide what falls due, until cancelled."""
        while True:
            await self.work()
            await asyncio.sleep(_TICK_S)

    async def work(self) -> None:
        """Decide everything that is due by now; what cannot be written, because the journal is full, is kept for later."""
        await self._until(self._journal.clock.now())
        await self._tidy()

    async def _until(self, now: int) -> None:
        """Do all that falls due by this time of the journal, in its order."""
        self.table.advance(now)
        while self.table.due:
            self._roll(next(iter(self.table.due.values())).due_ns)  # which may put another one in front
            await self._decide(*next(iter(self.table.due.items())))
            if time.monotonic() >= self._next_tidying:
                await self._tidy()
            await asyncio.sleep(0)
        self._roll(now)

    async def _tidy(self) -> None:
        """Write what waits, hand over what was chosen, make room in the journal, and write a checkpoint when it is time."""
        with contextlib.suppress(RetryableError):  # the journal is full and has said so
            self._ledger.flush()
        await self._handing_over.give()
        if self._caught_up:
            self._retention.make_room()
            if self._checkpoints.is_due(wanted=self._retention.wants_checkpoint):
                await self.save()
        self._next_tidying = time.monotonic() + _TICK_S

    async def save(self) -> None:
        """Write a checkpoint; what it does not need of the journal may then be deleted."""
        self._read = {kind: self._journal.logs[kind].end for kind in self._read}  # all that came was observed
        read, written, cut = dict(self._read), self._ledger.end, self._held.end
        if await self._checkpoints.write(self._checkpoint()):
            self._retention.held, self._ledger.held, self._held.saved = read, written, cut

    async def find(self, trace_id: bytes) -> Stored | None:
        """A trace that is open or in its late window, None when it is not here."""
        entry = self.table.get(trace_id)
        return None if entry is None else await self._requests.retrieve(trace_id, entry)

    async def close(self) -> None:
        """Write what is left; open traces go on at the next start. One that has not caught up leaves all as it was."""
        if not self._caught_up:
            return
        now_ms = self._journal.clock.now() // 10**6
        self._ledger.count(self._book, now_ms + (now_ms % MINUTE_MS == 0))
        with contextlib.suppress(RetryableError):  # it is in the checkpoint then
            self._ledger.flush()
        await self.save()

    async def _decide(self, trace_id: bytes, entry: Entry) -> None:
        due_ns, revision = entry.due_ns, entry.revision
        hearing = self.desk.hearing
        if entry.spans:
            for opinion in hearing.introduce(trace_id, (), due_ns):
                entry.hear(opinion)
        stored = await self._requests.retrieve(trace_id, entry)
        if entry.spans + entry.records >= _THREAD_FROM:
            found = await asyncio.to_thread(self._decider.finish, trace_id, entry, stored)
        else:
            found = self._decider.finish(trace_id, entry, stored)
        if self.table.due.get(trace_id) is not entry or entry.revision != revision:
            return  # passed over in the meantime
        if found is None:
            self._let_go(trace_id, entry, stored)
            return
        self._take(trace_id, entry, found.draft)
        for opinion in hearing.introduce(trace_id, found.keys, due_ns):
            self.table.tell(trace_id, opinion, due_ns)
        for target, opinion in found.echoes:
            self.desk.pass_on(target, opinion, due_ns)
        self.table.resume(trace_id)

    def _let_go(self, trace_id: bytes, entry: Entry, stored: Stored) -> None:
        """Nothing was found of a due trace: it is none, or its requests are gone."""
        if entry.decided_ns or (entry.spans and not stored.whole):
            self._pass_over(trace_id, entry)
        else:
            self.table.drop(trace_id)

    def _pass_over(self, trace_id: bytes, entry: Entry) -> None:
        """Decide about a due trace without looking at it; one that was decided before stays as it is."""
        if entry.decided_ns:
            self.table.keep(trace_id)
        else:
            self._metrics.counter("sampling_traces_unread").add()
            self._take(trace_id, entry, self._decider.unread(trace_id, entry))
        self.table.resume(trace_id)

    def _take(self, trace_id: bytes, entry: Entry, draft: Draft) -> None:
        """Settle a trace: now, or at the end of the cap's window."""
        self.table.settle(trace_id)
        instead = self._window.pop(trace_id, None)
        if instead is not None:  # of two in one window the later one counts, in place of the first
            draft.decided = replace(draft.decided, revision=instead.decided.revision)
            entry.revision -= 1
        wanted = draft.decided.wanted
        if self._cap is None or not wanted:
            self._finish(draft, Resolved(wanted, draft.u <= wanted))
        elif wanted <= entry.wanted:  # it has competed with this rate; once more would be a second chance
            self._finish(draft, Resolved(0.0, False))
        else:
            self._window[trace_id] = draft

    def _finish(self, draft: Draft, resolved: Resolved) -> None:
        final = draft.final(resolved.probability, chosen=resolved.chosen)
        decided = self._ledger.decision(final)
        draft.row.follow(decided)  # written before a crash, maybe under another pressure or configuration
        counted = self._book.replace(draft.counted, draft.row)
        if (entry := self.table.get(decided.trace_id)) is not None:
            entry.pi, entry.chosen, entry.counted = decided.own_pi, decided.chosen, counted
            entry.wanted = max(entry.wanted, decided.wanted)
        again = draft.chosen and decided.revision > 0  # else it was chosen when its root came
        self._handing_over.put(decided, again=again)
        if decided is final:
            self._metrics.counter("sampling_traces_decided", trigger=decided.trigger).add()
            if decided.chosen and not again:
                self._metrics.counter("sampling_traces_chosen", policy=decided.policy).add()

    def _roll(self, now: int) -> None:
        """Time has come to `now`: close the cap's window and the minute that are over."""
        if self._cap is not None:
            window_ns = now - now % self._cap.window_ns
            if window_ns > self._window_ns:
                drafts = list(self._window.values())
                self._window = {}
                resolved = self._cap.choose([draft.candidate for draft in drafts], self._window_ns)
                for draft, result in zip(drafts, resolved, strict=True):
                    self._finish(draft, result)
                self._window_ns = window_ns
        minute = now // MINUTE_NS
        if minute > self._minute:
            for one in minutes_between(self._minute, minute):
                self._begin(one)

    def _begin(self, minute: int) -> None:
        """A minute begins: rates may change, and the counts of the last one are written."""
        now = minute * MINUTE_NS
        self._decider.roll(minute, self._handing_over.pressure)
        sessions = self._decider.sessions.silent(now)
        for last in (turns[-1] for turns in sessions if turns[-1].asked_back):
            self.table.tell(bytes.fromhex(last.trace_id), Feedback("abandon", "no reply", positive=False), now)
        self._handing_over.put_sessions(sessions)
        self._ledger.count(self._book, self._minute * MINUTE_MS)
        self.desk.expire(now)
        self._minute = minute

    def _checkpoint(self) -> checkpoint.Checkpoint:
        states = self._decider.states
        return checkpoint.Checkpoint(
            time_ns=self._journal.clock.now(),
            read=self._read,
            ledger=self._ledger.end,
            held=self._held.end,
            waiting=self._ledger.waiting,
            minute=self._minute,
            window_ns=self._window_ns,
            open=self.table.open,
            due=self.table.due,
            decided=self.table.decided,
            window=self._window,
            chosen=self._handing_over.waiting,
            quiet=self._handing_over.sessions,
            sessions=self._decider.sessions.memory(),
            strata=states.get("strata"),
            uncertainty=states.get("uncertainty"),
            spent=self._cap.spent if self._cap is not None else {},
            traffic=list(self._book.rows()),
            ids=self._decider.ids,
            heard=self.desk.hearing.memory(),
        )

    def _show(self) -> None:
        self._metrics.gauge("sampling_traces_open", lambda: len(self.table.open))
        self._metrics.gauge("sampling_traces_due", lambda: len(self.table.due))
