"""A tool was called again and again with the same arguments."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from otel_eval.sampling.sessions import Turn
from otel_eval.sampling.signals.signal import Signal, because
from otel_eval.traces.view import TraceView

MIN_REPEATS: Final = 3
"""So many equal calls in one trace are a loop."""


def detect(view: TraceView, earlier: Sequence[Turn]) -> Signal | None:
    """Counts equal pairs of name and arguments; calls whose arguments were not captured do not count."""
    counts = Counter((tool.name, repr(tool.arguments)) for tool in view.tool_calls if tool.arguments not in (None, {}, ""))
    (name, arguments), times = next(iter(counts.most_common(1)), (("", ""), 0))
    return because(f"{times} times {name}({arguments})", value=times) if times >= MIN_REPEATS else None
