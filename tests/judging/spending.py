"""Asks a judge of known cost through a gate, a hundred calls at once, until the budget is used up.

`python -m tests.judging.spending FILE LOG`: each call that is made, and so billed, is a line of nano-USD in LOG.
"""

import asyncio
import os
import random
import sys
from pathlib import Path

from otel_eval.evaluators.evaluator import JudgeUse
from otel_eval.judging.budget import Budget, BudgetConfig, BudgetExceeded
from otel_eval.judging.concurrency import ConcurrencyConfig
from otel_eval.judging.gate import Gate, GateConfig
from otel_eval.judging.llm import Answer, Ask, Failure, JudgeError
from otel_eval.judging.prices import PriceTable
from tests.judging.provider import question

LIMIT_USD = 0.5
AT_ONCE = 100


class Billed:
    """Costs up to a half of the worst case; a call in twenty times out after it was billed, at its worst case."""

    def __init__(self, log: int, worst_usd: float) -> None:
        self._log = log
        self._worst_nano = int(worst_usd * 1e9)

    async def ask(self, ask: Ask) -> Answer:
        lost = random.random() < 0.05
        nano = self._worst_nano if lost else random.randint(1, self._worst_nano // 2)
        os.write(self._log, b"%d\n" % nano)
        await asyncio.sleep(random.random() * 0.1)
        if lost:
            raise JudgeError(Failure.TIMEOUT, "no answer", may_be_billed=True)
        return Answer(text="", stop_reason="end_turn", use=JudgeUse(model=ask.model, cost_usd=nano / 1e9))


class Dear(PriceTable):
    """Every call costs a thousandth of the budget at most."""

    def worst_case(self, ask: Ask, input_tokens: int, *, batch: bool = False) -> float | None:
        return LIMIT_USD / 1000


async def spend(file: Path, log: Path) -> None:
    config = BudgetConfig(usd_per_day=None, usd_per_month=LIMIT_USD, calls_per_day=None)
    budget = Budget(file, config, lambda: 1_795_003_200.0)
    client = Billed(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT), LIMIT_USD / 1000)
    concurrency = ConcurrencyConfig(start=AT_ONCE, max=AT_ONCE)
    gate = Gate(client, budget, Dear({}), GateConfig(concurrency=concurrency))

    async def work() -> None:
        judge = gate.for_purpose(baseline=True)
        while True:
            try:
                await judge.ask(question())
            except BudgetExceeded:
                return
            except JudgeError:
                pass

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    await budget.close()


if __name__ == "__main__":
    asyncio.run(spend(Path(sys.argv[1]), Path(sys.argv[2])))
