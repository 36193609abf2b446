"""The one sending loop: one for each exporter and kind of request; see the package docstring."""

import asyncio
import bisect
import itertools
import random
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from otel_eval.config import ExporterConfig
from otel_eval.errors import PermanentError, RetryableError, TooLargeError
from otel_eval.exporters import Exporter, Message
from otel_eval.exporters.dead_letters import DeadLetters
from otel_eval.journal import Reader, Record
from otel_eval.records import Kind, OwnKind
from otel_eval.telemetry import Metrics
from otel_eval.wire import edit, lens

_log = structlog.get_logger(__name__)

_MAX_THROTTLE_S = 3600.0
"""The longest hint of a backend that is believed."""

_STORE_RETRY_S = 5.0


class Request(NamedTuple):
    """One request as it was accepted, or a part of one; `label` names it among the dead letters, `again` see Message."""

    label: str
    time_ns: int
    body: bytes | memoryview
    items: int
    again: bool = False


@dataclass(eq=False, slots=True)
class _Batch:
    end: int
    done: bool = False


class SendingLoop:
    """Delivers one kind of request from a journal reader to an exporter."""

    def __init__(
        self,
        *,
        name: str,
        kind: Kind | OwnKind,
        exporter: Exporter,
        config: ExporterConfig,
        reader: Reader,
        dead_letters: DeadLetters,
        metrics: Metrics,
        hop: str,
    ) -> None:
        self._name = name
        self._kind = kind
        self._exporter = exporter
        self._config = config
        self._reader = reader
        self._dead_letters = dead_letters
        self._metrics = metrics
        self._hop = hop
        self._read_at = reader.position
        self._batches: deque[_Batch] = deque()
        self._frozen: deque[int] = deque()
        self._not_before = 0.0
        self._draining = False
        self.failing: str | None = None
        labels = {"exporter": name, "kind": str(kind)}
        metrics.gauge("exporter_queue_size", lambda: self.behind, **labels)
        metrics.gauge("exporter_in_flight_requests", lambda: len(self._batches), **labels)

    @property
    def behind(self) -> int:
        """Journal bytes that are not delivered yet."""
        return self._reader.log.end - self._reader.position

    async def run(self) -> None:
        """Send until cancelled; what is under way then, or after a failure, is sent again by the next run."""
        self._read_at = self._reader.position
        self._frozen = deque(self._reader.ends)
        self._batches.clear()
        slots = asyncio.Semaphore(self._config.sending_queue.num_consumers)
        async with asyncio.TaskGroup() as deliveries:
            while True:
                await slots.acquire()
                batch, requests = await self._next_batch()
                delivery = deliveries.create_task(self._deliver_batch(batch, requests))
                delivery.add_done_callback(lambda _: slots.release())

    async def drain(self) -> None:
        """Return when everything in the journal has been delivered; batches no longer wait to be filled."""
        self._draining = True
        self._reader.log.wake()
        while self.behind:  # noqa: ASYNC110 - happens once, at a stop
            await asyncio.sleep(0.02)

    async def _next_batch(self) -> tuple[_Batch, list[Request]]:
        log = self._reader.log
        while True:
            again = bool(self._frozen)
            if again:  # as it was when it was sent first
                records = self._read_up_to(self._frozen.popleft())
            else:
                while log.end <= self._read_at:
                    await log.wait_beyond(self._read_at)
                await self._wait_to_fill()
                records = self._read_next()
                self._reader.freeze(self._read_at)
            batch = _Batch(self._read_at)
            self._batches.append(batch)
            if records:
                return batch, [Request(str(one.position), one.time_ns, one.body, one.items, again) for one in records]
            self._finish(batch)  # only damage

    def _read_next(self) -> list[Record]:
        """As many records as fit into one message."""
        records, self._read_at = self._reader.log.read(self._read_at, self._config.max_message_bytes)
        items = itertools.accumulate(record.items for record in records)
        fitting = max(1, bisect.bisect_right(list(items), self._config.sending_queue.batch.max_items))
        if fitting < len(records):
            self._read_at = records[fitting].position
        return records[:fitting]

    def _read_up_to(self, end: int) -> list[Record]:
        records = []
        while self._read_at < end:
            chunk = self._reader.log.read(self._read_at, end - self._read_at)
            records += chunk.records
            self._read_at = chunk.end
        return records

    async def _wait_to_fill(self) -> None:
        """Let a batch grow to its minimum size, but never longer than the flush timeout."""
        config = self._config.sending_queue.batch
        if not self._draining and config.flush_timeout:
            with suppress(TimeoutError):
                async with asyncio.timeout(config.flush_timeout):
                    await self._reader.log.wait_beyond(self._read_at + config.min_size_bytes - 1)

    async def _deliver_batch(self, batch: _Batch, requests: list[Request]) -> None:
        await self._deliver(requests)
        self._finish(batch)

    def _finish(self, batch: _Batch) -> None:
        """Move the cursor behind the batches that are done without a gap."""
        batch.done = True
        while self._batches and self._batches[0].done:
            self._reader.advance(self._batches.popleft().end)

    async def _deliver(self, requests: Sequence[Request]) -> None:
        """Bring these requests to the backend in one message, or in as many as it takes, or to the dead letters."""
        only = requests[0] if len(requests) == 1 else None
        if only and len(only.body) > self._config.max_message_bytes:
            parts = self._parts(only, self._config.max_message_bytes)
            if len(parts) > 1:
                for part in parts:
                    await self._deliver([part])
                return
        try:
            await self._send(self._message(requests), sum(request.items for request in requests))
        except PermanentError as error:
            smaller = self._smaller(requests, error)
            for some in smaller:
                await self._deliver(some)
            if not smaller:
                for request in requests:
                    await self._bury(request, str(error))

    def _message(self, requests: Sequence[Request]) -> Message:
        first, last = requests[0], requests[-1]
        # With the times: after a power failure the journal may give a position once more.
        place = f"{first.label}-{last.label}-{first.time_ns:x}-{last.time_ns:x}"
        bodies = [request.body for request in requests]
        return Message(self._kind, bodies, f"{self._hop}-{self._name}-{self._kind}-{place}", self._hop, first.again)

    def _smaller(self, requests: Sequence[Request], error: PermanentError) -> list[Sequence[Request]]:
        """What to try instead of a message that was refused; empty when nothing smaller would do better."""
        if len(requests) > 1 and error.blames_request:
            middle = len(requests) // 2
            return [requests[:middle], requests[middle:]]
        if len(requests) == 1 and isinstance(error, TooLargeError):
            parts = self._parts(requests[0], len(requests[0].body) // 2)
            if len(parts) > 1:
                return [[part] for part in parts]
        return []

    def _parts(self, request: Request, max_bytes: int) -> list[Request]:
        """The request cut between its items; whole when the parts would be much more in sum, see `edit.split`."""
        if not isinstance(self._kind, Kind):
            return [request]
        kind, label = self._kind, request.label
        parts = enumerate(edit.split(bytes(request.body), max_bytes))
        return [request._replace(label=f"{label}-{at}", body=body, items=lens.count_items(kind, body)) for at, body in parts]

    async def _bury(self, request: Request, reason: str) -> None:
        letter = None
        while letter is None:
            try:
                letter = await asyncio.to_thread(self._store, request, reason)
            except OSError as error:
                self.failing = f"a dead letter cannot be written: {error.strerror}"
                _log.error("a dead letter cannot be written; trying again", exporter=self._name, reason=error.strerror)
                await asyncio.sleep(_STORE_RETRY_S)
        self._metrics.counter(f"exporter_send_failed_{self._kind.items}", exporter=self._name).add(request.items)
        _log.error(
            "the backend refused a request for good; it is in the dead-letter store",
            exporter=self._name,
            kind=str(self._kind),
            items=request.items,
            letter=letter,
            reason=reason,
        )

    def _store(self, request: Request, reason: str) -> str:
        body = bytes(request.body)
        return self._dead_letters.add(self._name, self._kind, request.label, body, request.items, reason)

    async def _send(self, message: Message, items: int) -> None:
        """Send one message until the backend has answered for good; raises PermanentError when it refuses."""
        retry = self._config.retry_on_failure
        interval = float(retry.initial_interval)
        started = time.monotonic()
        while True:
            while (wait_s := self._not_before - time.monotonic()) > 0:  # noqa: ASYNC110 - it may be moved on meanwhile
                await asyncio.sleep(wait_s)
            try:
                await self._try(message, items)
            except RetryableError as error:
                if 0 < retry.max_elapsed_time < time.monotonic() - started:
                    raise PermanentError(f"given up after {retry.max_elapsed_time}: {error}", blames_request=False) from None
                spread = 1 + retry.randomization_factor * random.uniform(-1, 1)  # noqa: S311 - jitter
                self._note_failure(str(error), interval * spread, error.retry_after_s)
                message = message._replace(again=True)
                await asyncio.sleep(interval * spread)
                interval = min(interval * retry.multiplier, float(retry.max_interval))
            else:
                return

    async def _try(self, message: Message, items: int) -> None:
        started = time.monotonic()
        outcome = "retry"
        try:
            answer = await self._exporter.export(message)
            outcome = "success"
        except PermanentError:
            outcome = "refused"
            raise
        except RetryableError:
            raise
        except (Exception, asyncio.CancelledError) as error:  # a defect of ours must not cost data either
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task and task.cancelling():
                raise
            _log.error("an exporter failed unexpectedly; trying again", exporter=self._name, exc_info=error)
            raise RetryableError(f"internal failure: {type(error).__name__}") from error
        finally:
            self._metrics.counter("exporter_requests", exporter=self._name, outcome=outcome).add()
            self._metrics.record("exporter_send_duration", time.monotonic() - started, exporter=self._name)
        if self.failing is not None:
            _log.info("the backend takes requests again", exporter=self._name, kind=str(self._kind))
            self.failing = None
        self._count(items, answer.rejected, answer.message)

    def _count(self, items: int, rejected: int, message: str) -> None:
        rejected = min(max(rejected, 0), items)
        self._metrics.counter(f"exporter_sent_{self._kind.items}", exporter=self._name).add(items - rejected)
        if rejected or message:
            self._metrics.counter(f"exporter_rejected_{self._kind.items}", exporter=self._name).add(rejected)
            _log.warning(
                "the backend answered with a partial success",
                exporter=self._name,
                kind=str(self._kind),
                rejected=rejected,
                reason=message,
            )

    def _note_failure(self, reason: str, wait_s: float, hint_s: float | None) -> None:
        if hint_s:
            self._not_before = max(self._not_before, time.monotonic() + min(hint_s, _MAX_THROTTLE_S))
        self.failing = reason
        _log.warning(
            "the backend does not take requests; they wait in the journal",
            exporter=self._name,
            kind=str(self._kind),
            reason=reason,
            retry_in_s=round(max(wait_s, min(hint_s or 0.0, _MAX_THROTTLE_S)), 1),
            behind_bytes=self.behind,
        )
