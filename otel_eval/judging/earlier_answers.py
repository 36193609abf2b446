"""Answers of a try that came to no end: the job's next try is given them, so that no question is paid for twice.

A panel, a comparison in both orders and a rubric about each model call ask several questions for one verdict. Where one
of them fails, the job comes again, and asks them all: without this the others are billed with every try, and while one
model of a panel is down that is for as long as the job lives.

Each answer is given once: what is asked again in the same try is really asked. They are in memory, so that a restart
forgets them, and in all at most 16 MiB: of more, those of the jobs that have waited longest go first.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, NamedTuple

from otel_eval.judging.batch_question import key_of
from otel_eval.judging.llm import Answer, Ask

_MOST_BYTES: Final = 16 << 20
_ANSWER_BYTES: Final = 1000
"""About what an answer takes beside its text."""


class _Try(NamedTuple):
    """What is known from before and was not asked yet, and what was answered in this try."""

    earlier: dict[bytes, Answer]
    answered: list[tuple[Ask, Answer]]


_TRY: Final[ContextVar[_Try | None]] = ContextVar("_TRY", default=None)


class EarlierAnswers:
    """See the module docstring; for the jobs of one pool."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, dict[bytes, Answer]] = OrderedDict()
        self._bytes = 0

    @contextmanager
    def of(self, job_id: str) -> Iterator[None]:
        """A try of a job; what is answered in it is kept when it ends in an exception."""
        current = _Try(self._taken(job_id), [])
        token = _TRY.set(current)
        try:
            yield
        except BaseException:
            self._keep(job_id, current.earlier | {key_of(ask): answer for ask, answer in current.answered})
            raise
        finally:
            _TRY.reset(token)

    def _taken(self, job_id: str) -> dict[bytes, Answer]:
        found = self._kept.pop(job_id, {})
        self._bytes -= _size(found)
        return found

    def _keep(self, job_id: str, answers: dict[bytes, Answer]) -> None:
        if answers:
            self._kept[job_id] = answers
            self._bytes += _size(answers)
        while self._bytes > _MOST_BYTES:
            self._bytes -= _size(self._kept.popitem(last=False)[1])


async def unless_answered(ask: Ask, asking: Callable[[Ask], Awaitable[Answer]]) -> Answer:
    """The answer of an earlier try to this question, or what asking gives."""
    current = _TRY.get()
    if current is None:
        return await asking(ask)
    answer = current.earlier.pop(key_of(ask), None) if current.earlier else None
    if answer is None:
        answer = await asking(ask)
    current.answered.append((ask, answer))
    return answer


@contextmanager
def no_earlier_ones() -> Iterator[None]:
    """Whatever is asked within is really asked, and kept for nobody."""
    token = _TRY.set(None)
    try:
        yield
    finally:
        _TRY.reset(token)


def _size(answers: dict[bytes, Answer]) -> int:
    return sum(len(answer.text) + _ANSWER_BYTES for answer in answers.values())
