"""What a backend can do to a hop, for as long as a test wants it."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Sequence

from otel_eval.records import Kind
from tests.sink import OK, Answer, Sink


class Weather:
    """One kind of bad time of a sink, until `over`; afterwards the sink is up and takes everything."""

    def __init__(self, sink: Sink, seed: str) -> None:
        self._sink = sink
        self._chance = random.Random(seed)
        self._given: Counter[Answer] = Counter()
        self.over = False

    async def fair(self) -> None:
        """The sink takes everything."""

    async def outages(self, down_s: float, up_s: float) -> None:
        """The sink's ports are closed, and open again, each for about that long."""
        while not self.over:
            await self._sink.stop()
            await self._pass(down_s)
            await self._sink.start(self._sink.grpc_port, self._sink.http_port)
            await self._pass(up_s)

    async def slowness(self, longest_s: float) -> None:
        """Each answer takes up to that long; it is a success, whether the exporter still waits for it or not."""
        self._sink.behave = lambda _kind, _body: Answer(delay_s=self._chance.uniform(0, longest_s))
        while not self.over:
            await self._pass(0.1)
        self._sink.behave = lambda _kind, _body: OK

    async def refusals(self, answers: Sequence[Answer], share: float, for_s: float, at_least: int = 1) -> None:
        """One answer after the other to that share of requests, each for a while and `at_least` so often."""
        for answer in itertools.cycle(answers):
            if self.over and all(self._given[other] >= at_least for other in answers):
                return
            self._refuse_with(answer, share)
            await self._pass(for_s)
            while self._given[answer] < at_least:  # the hop may be away at the moment
                await asyncio.sleep(0.01)
            self._sink.behave = lambda _kind, _body: OK
            await self._pass(for_s / 2)

    def _refuse_with(self, answer: Answer, share: float) -> None:
        def behave(_kind: Kind, _body: bytes) -> Answer:
            if self._chance.random() >= share:
                return OK
            self._given[answer] += 1
            return answer

        self._sink.behave = behave

    async def _pass(self, seconds: float) -> None:
        await asyncio.sleep(seconds * self._chance.uniform(0.5, 1.5))
