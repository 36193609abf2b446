"""A call of a model failed: error status, exception, HTTP error."""

from collections.abc import Sequence

from otel_eval.sampling.sessions import Turn
from otel_eval.sampling.signals.schema_failure import is_schema_error
from otel_eval.sampling.signals.signal import Signal, because
from otel_eval.traces.view import TraceView


def detect(view: TraceView, earlier: Sequence[Turn]) -> Signal | None:
    """Cancelled calls do not count, nor answers that did not parse (`schema_failure`), nor shadows.

    Of a shadow another instrumentation has told.
    """
    for call in view.model_calls:
        if call.error is not None and not (call.cancelled or call.is_shadow or is_schema_error(call.error)):
            return because(": ".join(filter(None, (call.error.type, call.error.message))) or "failed", call.span_id)
    return None
