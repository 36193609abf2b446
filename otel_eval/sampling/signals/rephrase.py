"""A user put the last question in other words, or said that the answer was wrong."""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Final

from otel_eval.sampling.sessions import Turn, is_continuation, normalised
from otel_eval.sampling.signals.signal import Signal, because
from otel_eval.traces.view import TraceView

MIN_SIMILARITY: Final = 0.6
"""Texts are similar when they share this much of their words, or of their letters in order."""

_MIN_WORDS: Final = 3
_WORDS: Final = re.compile(r"\w+")
_NEGATES: Final = re.compile(
    r"no[,.!]|nope\b|wrong\b|that(['\u2019]s| is) (not|wrong|incorrect)|not what i|i (meant|said|asked)|try again"
    r"|you (misunderst|did ?n(ot|['\u2019]t))"
)


def detect(view: TraceView, earlier: Sequence[Turn]) -> Signal | None:
    """Compares with the session's last turn. The same text again is a regeneration, not this."""
    if not earlier or not view.user_input or is_continuation(view):
        return None
    now, before = normalised(view.user_input), earlier[-1].user_text
    if now == before:
        return None
    if _NEGATES.match(now):
        return because(f"contradicts the answer in trace {earlier[-1].trace_id}")
    similarity = _similarity(now, before)
    if similarity < MIN_SIMILARITY:
        return None
    return because(f"like the question in trace {earlier[-1].trace_id}", value=round(similarity, 3))


def _similarity(now: str, before: str) -> float:
    words, others = set(_WORDS.findall(now)), set(_WORDS.findall(before))
    if min(len(words), len(others)) < _MIN_WORDS:
        return 0.0
    shared = len(words & others) / len(words | others)
    return max(shared, SequenceMatcher(None, now, before, autojunk=False).ratio() if shared >= MIN_SIMILARITY / 2 else 0.0)
