"""What happens to a request between a receiver and the journal."""

import asyncio
from collections.abc import Awaitable, Callable

from otel_eval.errors import OtelEvalError
from otel_eval.journal import Journal, Record
from otel_eval.records import Kind, PartialSuccess
from otel_eval.telemetry import Metrics
from otel_eval.wire import check, edit

_COMPLETE = PartialSuccess()
_INSPECT_IN_THREAD_FROM = 1 << 20
"""Larger requests, which may be made to take long, do not hold the others up."""


Scrub = Callable[[Kind, bytes], bytes]
"""Makes of a checked body the one that is passed on, with the same items in the same order."""

Observe = Callable[[Kind, Record, check.Inspection, bytes], None]
"""Is told of each request in the order in which they are journaled."""

Cut = Callable[[check.Inspection, bytes], Awaitable[tuple[check.Inspection, bytes]]]
"""Takes what is held back out of a traces request with local roots, and gives what is left to be journaled."""


class Intake:
    """The one way in: what `accept` has returned for is in the journal, and `observe` was told of it."""

    def __init__(
        self,
        journal: Journal,
        metrics: Metrics,
        observe: Observe | None = None,
        cut: Cut | None = None,
        scrub: Scrub | None = None,
    ) -> None:
        self._journal = journal
        self._metrics = metrics
        self._observe = observe
        self._cut = cut
        self._scrub = scrub

    async def accept(self, kind: Kind, body: bytes, transport: str) -> PartialSuccess:
        """Check and journal one request body; what comes back is for the sender.

        Spans and log records whose ids have a wrong length are left out and told to the sender, since a backend
        would refuse everything that travels with them. Raises PermanentError for a body that is no such request,
        RetryableError while there is no room.
        """
        if len(body) < _INSPECT_IN_THREAD_FROM:
            found = check.inspect(kind, body)
        else:
            found = await asyncio.to_thread(check.inspect, kind, body)
        if found.items == 0:
            return _COMPLETE
        rejected = len(found.invalid)
        if rejected:
            body = edit.drop(body, found.invalid)
            self._metrics.counter(f"receiver_refused_{kind.items}", transport=transport).add(rejected)
        accepted = found.items - rejected
        if accepted:
            try:
                body = await self._scrubbed(kind, body)
                items = accepted
                if self._cut is not None and any(arrival.has_root for arrival in found.arrivals):
                    found, body = await self._cut(found, body)
                    items = found.items - rejected
                if items:
                    record = self._journal.append(kind, body, items)
                    if self._observe is not None:
                        self._observe(kind, record, found, body)
                await self._journal.durable()
            except OtelEvalError:
                self._metrics.counter(f"receiver_refused_{kind.items}", transport=transport).add(accepted)
                raise
            self._metrics.counter(f"receiver_accepted_{kind.items}", transport=transport).add(accepted)
        if rejected:
            return PartialSuccess(rejected, "trace ids must be 16 bytes long, span ids 8")
        return _COMPLETE

    async def _scrubbed(self, kind: Kind, body: bytes) -> bytes:
        return body if self._scrub is None else await asyncio.to_thread(self._scrub, kind, body)
