"""Whether there is an answer, and all of it."""

from itertools import islice
from typing import Annotated

from msgspec import Meta

from otel_eval.config.section import Section
from otel_eval.evaluators.by_code import ByCode
from otel_eval.evaluators.evaluator import NotApplicable, Result, Subject
from otel_eval.evaluators.texts import answer, answering_call, came_out, client_requests
from otel_eval.traces.records import Media, ModelCall
from otel_eval.traces.view import TraceView


class AnsweredConfig(Section, frozen=True):
    """An answer of fewer than `min_characters` visible characters counts as empty."""

    min_characters: Annotated[int, Meta(ge=1, le=10_000)] = 1


class Answered(ByCode):
    """1 when an answer came out, whole; 0 when it is empty, was cut for want of tokens, or an error stands in its place.

    A trace that ends where the model asks for a tool, with no agent around, is one of several: the answer is elsewhere.
    A refusal is an answer here (see `refusal`), and so is an image, audio or a file.

    >>> from otel_eval.evaluators import example
    >>> evaluator = Answered("answered", AnsweredConfig())
    >>> example.judged(evaluator, example.trace('''
    ... user: Tell me everything about Paris.
    ... assistant: Paris is the
    ... finish: length'''))
    '0 fail: the answer was cut: the model had no tokens left'
    """

    Config = AnsweredConfig
    revision = 2
    config: AnsweredConfig

    def judge(self, subject: Subject) -> Result | NotApplicable:
        """The last model call that said something tells whether the answer is whole."""
        view = subject.view
        if not view.model_calls:
            return NotApplicable("no model was called")
        last = view.model_calls[-1]
        call = answering_call(view) or last
        if "length" in call.finish_reasons:
            return self.result(0.0, False, "the answer was cut: the model had no tokens left", call.span_id)
        elsewhere = _elsewhere(view, call)
        if elsewhere is not None:
            return NotApplicable(elsewhere)
        if not _broke_off(view, call) and (self._is_visible(view) or _shows(call)):
            return self.result(1.0, True, "there is an answer", call.span_id)
        return self._empty(view, last)

    def _is_visible(self, view: TraceView) -> bool:
        visible = (character for character in answer(view) if character.isprintable() and character != " ")
        return len(list(islice(visible, self.config.min_characters))) == self.config.min_characters

    def _empty(self, view: TraceView, last: ModelCall) -> Result | NotApplicable:
        if view.errors:
            error = view.errors[-1]
            said = ": ".join(filter(None, (error.type, error.message))) or "failed"
            return self.result(0.0, False, f"no answer; {error.span_name}: {said}", error.span_id)
        if not any(call.output_messages for call in view.model_calls):
            return NotApplicable("no answer was captured")
        return self.result(0.0, False, "the answer is empty", last.span_id)


def _elsewhere(view: TraceView, last: ModelCall) -> str | None:
    if any(call.cancelled for call in view.model_calls):
        return "the call was cancelled"
    if "tool_call" in last.finish_reasons or client_requests(last):
        return None if view.steps else "the trace ends where a tool is asked for"
    return None


def _broke_off(view: TraceView, call: ModelCall) -> bool:
    """Whether the last words only announce a tool, and an error came in the place of what was to follow."""
    if not client_requests(call) or not came_out(view, call):
        return False
    return any(view.tree.by_id[error.span_id].end_ns >= call.end_ns for error in view.errors)


def _shows(call: ModelCall) -> bool:
    """Whether it gave an image, audio or a file."""
    return any(isinstance(part, Media) for message in call.output_messages for part in message.parts)
