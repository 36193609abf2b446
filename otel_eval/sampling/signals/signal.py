"""What a signal says when it fires."""

from typing import Final

from msgspec import Struct

from otel_eval.traces.values import to_text
from otel_eval.traces.view import TraceView

_MAX_DETAIL: Final = 200


class Signal(Struct, frozen=True):
    """A signal that fired: why, in a few words, where, and how strongly if that is a number."""

    detail: str = ""
    span_id: str | None = None
    value: float | None = None


def because(detail: object, span_id: str | None = None, value: float | None = None) -> Signal:
    """A signal with its reason on one line."""
    text = " ".join(to_text(detail)[: 4 * _MAX_DETAIL].split())
    return Signal(text if len(text) <= _MAX_DETAIL else f"{text[: _MAX_DETAIL - 1]}…", span_id, value)


def given(view: TraceView, kind: str, *, positive: bool | None = None) -> Signal | None:
    """From the first feedback of this kind, with this opinion if one is asked for."""
    for feedback in view.feedback:
        if feedback.kind == kind and (positive is None or feedback.positive is positive):
            said = feedback.comment or feedback.label or ("" if feedback.value is None else f"{feedback.value:g}")
            return because(f"{feedback.name}: {said}" if said else feedback.name, feedback.span_id, feedback.value)
    return None
