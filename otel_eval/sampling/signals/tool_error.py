"""A tool failed: its span, its status, what the model was told, or a result that starts with "Error"."""

from collections.abc import Sequence

from otel_eval.sampling.sessions import Turn
from otel_eval.sampling.signals.signal import Signal, because
from otel_eval.traces.tools import error_text
from otel_eval.traces.view import TraceView


def detect(view: TraceView, earlier: Sequence[Turn]) -> Signal | None:
    """Also for a result whose request was in an earlier trace: it stands at the end of the first call's input."""
    for tool in view.tool_calls:
        if tool.error is not None:
            return because(f"{tool.name}: {tool.error}", tool.span_id)
    for call in view.model_calls[:1]:
        names = {asked.id: asked.name for message in call.input_messages for asked in message.tool_calls}
        for message in reversed(call.input_messages):
            if not message.tool_results:
                break
            for result in message.tool_results:
                error = error_text(result.result, always=result.is_error is True)
                if error is not None:
                    return because(f"{result.name or names.get(result.id, 'tool')}: {error}", call.span_id)
    return None
