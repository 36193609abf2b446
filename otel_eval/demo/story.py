"""The story that the demo tells: sessions of customers with the agent over six days, the same for the same seed.

Two versions of the prompt answer, v2 to two customers of five. As days pass the agent invents more and more figures, v2
half as many as v1. From day three on the order API wants other arguments, which v2 gets right more often. But v2 says more
often that it has done something which it has not (cancelled an order, changed an address). Whoever gets a bad answer may
press thumbs-down or regenerate, ask in other words, or just leave.

Of each answer it is known here whether it is good. That is for comparing with the estimate, and goes nowhere else.
"""

from collections.abc import Iterator
from random import Random
from typing import Any, Final

from msgspec import Struct

from otel_eval.demo import shop
from otel_eval.demo.intents import CHANGE_ADDRESS, COMPLAINTS, INTENTS, REPHRASED, STUCK, WEIGHTS, Flaw, Intent, address

DAYS: Final = 6
VERSIONS: Final = ("v1", "v2")
_CANARY_SHARE: Final = 0.4
_TURNS_A_SESSION: Final = 1.5


class Ways(Struct, frozen=True):
    """How a version of the prompt behaves, in probabilities; `drift` is what each day adds to `invents`."""

    invents: float
    drift: float
    mixes_up: float
    claims: float
    old_arguments: float
    """That a call is written by the old description although the new one was offered."""
    recovers: float
    """That it reads the error of its tool and calls again."""


WAYS: Final = {
    "v1": Ways(invents=0.03, drift=0.035, mixes_up=0.03, claims=0.02, old_arguments=0.45, recovers=0.45),
    "v2": Ways(invents=0.02, drift=0.012, mixes_up=0.03, claims=0.45, old_arguments=0.15, recovers=0.75),
}


class ToolUse(Struct, frozen=True):
    """One call of a tool: what the model asked for, and the result or the error that it got."""

    name: str
    arguments: dict[str, Any]
    result: Any
    error: str | None


class Turn(Struct, frozen=True, kw_only=True):
    """One question and its answer, which become one trace.

    `good` is the truth. `opinion` is what the customer's thumb says, None for nothing, with a `comment`.
    """

    day: int
    session: str
    user: str
    prompt_version: str
    intent: str
    asked: str
    history: tuple[tuple[str, str], ...]
    pages: tuple[str, ...]
    uses: tuple[ToolUse, ...]
    answer: str
    good: bool
    flaw: Flaw | None
    opinion: bool | None
    comment: str
    seconds: tuple[float, ...]
    """What each step takes: retrieval, model call, and a tool and a model call for each use."""


def sessions(seed: int, traces: int) -> Iterator[list[Turn]]:
    """Sessions without end; the last day is reached when about so many traces have been told, and stays."""
    expected = max(1.0, traces / _TURNS_A_SESSION)
    number = 0
    while True:
        day = min(DAYS, 1 + int(number / expected * DAYS))
        yield _session(Random(f"{seed} session {number}"), day)  # noqa: S311 - a story is no secret
        number += 1


def planned(seed: int, traces: int) -> list[list[Turn]]:
    """The sessions that make exactly so many traces; the last one may end early."""
    found: list[list[Turn]] = []
    left = traces
    for session in sessions(seed, traces):
        found.append(session[:left])
        left -= len(found[-1])
        if left <= 0:
            return found
    return found


def _session(random: Random, day: int) -> list[Turn]:
    version = VERSIONS[random.random() < _CANARY_SHARE]
    teller = _Teller(random, day, version)
    turn = teller.turn(teller.another())
    told = [turn]
    while len(told) < 4 and (following := _next(random, teller, turn)) is not None:
        turn = following
        told.append(turn)
    return told


def _next(random: Random, teller: "_Teller", last: Turn) -> Turn | None:
    """What the customer does now: ask the same again, in other words, or something else; None is to leave."""
    again, differently, more = (0.02, 0.0, 0.3) if last.good else (0.18, 0.15, 0.08)
    drawn = random.random()
    if drawn < again:
        return teller.turn(teller.last or teller.another(), asked=last.asked)
    if drawn < again + differently:
        asked = last.asked if last.asked.startswith("No, ") else REPHRASED.format(asked=last.asked)
        return teller.turn(teller.last or teller.another(), asked=asked)
    return teller.turn(teller.another()) if drawn < again + differently + more else None


class _Teller:
    """One session as it goes on."""

    def __init__(self, random: Random, day: int, version: str) -> None:
        self._random = random
        self._day = day
        self._version = version
        self._ways = WAYS[version]
        self._order = shop.order(random, day)
        self._address = address(random)
        self._history: list[tuple[str, str]] = []
        self._ids = f"{random.getrandbits(48):012x}", f"customer-{random.randint(1000, 9999)}"
        self.last: Intent | None = None

    def another(self) -> Intent:
        """What is asked about now: not what was asked about last."""
        weights = [0 if intent is self.last else weight for intent, weight in zip(INTENTS, WEIGHTS, strict=True)]
        return self._random.choices(INTENTS, weights)[0]

    def turn(self, intent: Intent, asked: str | None = None) -> Turn:
        """One question; without `asked` in words of its own."""
        random, order = self._random, self._order
        self.last = intent
        if asked is None:
            asked = random.choice(intent.asked).format(id=order.id, item=order.item, address=self._address)
        flaw = self._flaw(intent)
        uses = () if intent.tool is None or flaw is Flaw.CLAIMED else self._uses(intent.tool)
        flaw = Flaw.STUCK if uses and uses[-1].error is not None and random.random() < 0.85 else flaw
        answer = self._answer(intent, flaw, failed=bool(uses) and uses[-1].error is not None)
        good = flaw is None and not (uses and uses[-1].error is not None)
        opinion = self._opinion(good)
        history = tuple(self._history)
        self._history += [("user", asked), ("assistant", answer)]
        return Turn(
            day=self._day,
            session=self._ids[0],
            user=self._ids[1],
            prompt_version=self._version,
            intent=intent.name,
            asked=asked,
            history=history,
            pages=intent.pages,
            uses=uses,
            answer=answer,
            good=good,
            flaw=flaw,
            opinion=opinion,
            comment=random.choice(COMPLAINTS) if opinion is False else "",
            seconds=tuple(random.uniform(0.04, 0.2) if step % 2 == 0 else random.uniform(0.25, 0.7) for step in range(8)),
        )

    def _flaw(self, intent: Intent) -> Flaw | None:
        ways, random = self._ways, self._random
        chances = {
            Flaw.INVENTED: ways.invents + ways.drift * (self._day - 1),
            Flaw.MIXED_UP: ways.mixes_up,
            Flaw.CLAIMED: ways.claims,
        }
        return next((flaw for flaw, chance in chances.items() if flaw in intent.wrong and random.random() < chance), None)

    def _uses(self, tool: str) -> tuple[ToolUse, ...]:
        """The calls of one tool: again after an error, if the agent reads it."""
        random, changed = self._random, self._day >= shop.SCHEMA_CHANGES_ON_DAY
        new = changed and random.random() >= self._ways.old_arguments
        used = [self._use(tool, new=new)]
        if used[-1].error is not None and random.random() < self._ways.recovers:
            used.append(self._use(tool, new=True))
        return tuple(used)

    def _use(self, tool: str, *, new: bool) -> ToolUse:
        more = {"address": self._address} if tool == CHANGE_ADDRESS.tool else {}
        given = shop.arguments(self._order, new=new, **more)
        return ToolUse(tool, given, *shop.call(self._day, tool, given, self._order))

    def _answer(self, intent: Intent, flaw: Flaw | None, *, failed: bool) -> str:
        random = self._random
        if flaw is Flaw.STUCK:
            return random.choice(STUCK)
        if flaw is None and failed:  # it says what it cannot know
            return intent.wrong.get(Flaw.INVENTED, intent.good[0])(self._order, random)
        return (random.choice(intent.good) if flaw is None else intent.wrong[flaw])(self._order, random)

    def _opinion(self, good: bool) -> bool | None:
        drawn = self._random.random()
        if good:
            return True if drawn < 0.06 else False if drawn > 0.985 else None
        return False if drawn < 0.28 else None
