"""Customers in real time: when which turn of which session is answered, and when its thumb is pressed."""

import asyncio
import heapq
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from random import Random
from typing import Final

from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.trace import SpanContext

from otel_eval.demo.agent import Agent
from otel_eval.demo.hop import HopProcess
from otel_eval.demo.story import DAYS, Turn, planned, sessions

_TAIL_S: Final = 8.0
"""What a long session takes: the last ones begin so much before the end."""
_BY_API: Final = 0.3
"""Share of the thumbs that come by the feedback API; the others are log events."""


class Traffic:
    """Sends the story to a hop, and keeps the truth of each trace, by its id: it is written nowhere."""

    def __init__(self, hop: HopProcess, seed: int) -> None:
        endpoint = f"http://{hop.grpc}"
        spans, logs = OTLPSpanExporter(endpoint, insecure=True, timeout=30), OTLPLogExporter(endpoint, insecure=True, timeout=30)
        self.truth: dict[str, Turn] = {}
        self.feedback = 0
        self._hop = hop
        self._seed = seed
        self._agent = Agent(seed, spans, logs)
        self._random = Random(f"{seed} traffic")  # noqa: S311
        self._order = itertools.count()

    @property
    def spans(self) -> int:
        """How many spans the agent has made."""
        return self._agent.spans

    async def play(self, traces: int, seconds: float) -> None:
        """Exactly so many traces in about so much time."""
        told = planned(self._seed, traces)
        apart = max(0.2, seconds - _TAIL_S) / len(told)
        await self._run((number * apart, session) for number, session in enumerate(told))

    async def go_on(self, apart: float) -> None:
        """The last day for ever, a session every so many seconds."""
        more = itertools.dropwhile(lambda session: session[0].day < DAYS, sessions(self._seed + 1, traces=1))
        await self._run((number * apart, session) for number, session in enumerate(more))

    async def flush(self) -> None:
        """Send what waits to be sent."""
        await asyncio.to_thread(self._agent.flush)

    async def finish(self) -> None:
        """The same, for the last time."""
        await asyncio.to_thread(self._agent.finish)

    async def _run(self, starts: Iterator[tuple[float, Sequence[Turn]]]) -> None:
        """Everything in the order of its time, in seconds from now."""
        begun = time.monotonic()
        waiting: list[tuple[float, int, Callable[[], Awaitable[None]]]] = []

        def later(at: float, what: Callable[[], Awaitable[None]]) -> None:
            heapq.heappush(waiting, (at, next(self._order), what))

        def answer(session: Sequence[Turn], number: int) -> Callable[[], Awaitable[None]]:
            async def do() -> None:
                now = time.monotonic() - begun
                turn = session[number]
                root = self._agent.answer(turn)
                self.truth[f"{root.trace_id:032x}"] = turn
                if turn.opinion is not None:
                    later(now + self._random.uniform(0.3, 2.5), lambda: self._thumb(root, turn))
                if number + 1 < len(session):
                    following = session[number + 1]
                    took = sum(following.seconds[: 2 + 2 * len(following.uses)])
                    later(now + took + self._random.uniform(0.4, 1.2), answer(session, number + 1))

            return do

        for start, session in starts:
            while waiting and waiting[0][0] <= start:
                await self._next(waiting, begun)
            later(start, answer(session, 0))
        while waiting:
            await self._next(waiting, begun)

    async def _next(self, waiting: list[tuple[float, int, Callable[[], Awaitable[None]]]], begun: float) -> None:
        at, _, what = heapq.heappop(waiting)
        await asyncio.sleep(max(0.0, begun + at - time.monotonic()))
        await what()

    async def _thumb(self, root: SpanContext, turn: Turn) -> None:
        self.feedback += 1
        if self._random.random() < _BY_API:
            said = {
                "trace_id": f"{root.trace_id:032x}",
                "kind": "thumbs",
                "value": float(bool(turn.opinion)),
                "source": "end_user",
            }
            await self._hop.tell({**said, "comment": turn.comment} if turn.comment else said)
        else:
            self._agent.thumb(root, bool(turn.opinion), turn.comment)
