"""The lines of the tree, as styled text without anything that could steer a terminal."""

from collections.abc import Iterable
from typing import Any, Final

from rich.text import Text

from otel_eval.inspection.plain_text import visible
from otel_eval.traces.records import Evaluation, Feedback, ModelCall, ToolExecution, Usage
from otel_eval.traces.values import to_text

MAX_TEXT: Final = 600
_MAX_VALUE: Final = 200
_ROLES: Final = {"user": "bold green", "assistant": "bold cyan", "system": "bold magenta", "tool": "bold yellow"}


def call_line(call: ModelCall) -> Text:
    """A call: model, provider, how long, how many tokens, what it cost."""
    model = call.response_model or call.request_model or "unknown"
    asked = (
        f"asked for {call.request_model}" if call.request_model and call.response_model not in {None, call.request_model} else ""
    )
    first = f"first token after {duration(call.time_to_first_token_s)}" if call.time_to_first_token_s is not None else ""
    facts = [call.provider or "", asked, duration(call.duration_s), first, tokens(call.usage), cost(call.cost_usd)]
    return Text.assemble(("model ", "cyan"), (visible(model), "bold"), f"  {visible(joined(facts))}")


def tool_line(tool: ToolExecution) -> Text:
    """A tool: what with, how long, and what came back."""
    took = f"  {duration(tool.duration_s)}" if tool.duration_s is not None else ""
    line = Text.assemble(("tool ", "yellow"), called(tool.name, tool.arguments), (took, "dim"))
    if tool.error is not None:
        return line.append("\n").append_text(failed(tool.error))
    if tool.result is not None:
        line.append("\n→ ", "yellow").append(short(to_text(tool.result), MAX_TEXT))
    return line


def called(name: str, arguments: Any) -> Text:
    """A tool call as code would write it."""
    if isinstance(arguments, dict):
        inside = ", ".join(f"{key}={short(to_text(value))}" for key, value in list(arguments.items())[:20])
    else:
        inside = "" if arguments is None else short(to_text(arguments))
    return Text.assemble((visible(name), "bold"), f"({visible(inside)})")


def step_line(word: str, name: str, duration_s: float) -> Text:
    """An agent or step."""
    return Text.assemble((f"{word} ", "blue"), (visible(name), "bold"), (f"  {duration(duration_s)}", "dim"))


def said(role: str, text: str, name: str | None = None) -> Text:
    """What somebody said."""
    return Text.assemble((f"{visible(name or role)}  ", _ROLES.get(role, "bold")), cut(text))


def failed(text: str) -> Text:
    """What went wrong."""
    return Text.assemble(("✗ ", "bold red"), (short(text, MAX_TEXT), "red"))


def score_line(score: Evaluation) -> Text:
    """A score of another evaluator."""
    value = score.error or joined([f"{score.value:g}" if score.value is not None else "", visible(score.label or "")])
    text = f"{visible(score.name)}  {visible(value)}  {short(score.explanation or '')}"
    return Text.assemble(("score ", "blue"), text.rstrip())


def feedback_line(feedback: Feedback, trace_id: str) -> Text:
    """What a user thought."""
    opinion = {True: "good", False: "bad", None: ""}[feedback.positive]
    value = f"{feedback.value:g}" if feedback.value is not None else ""
    said = joined([opinion, value, visible(feedback.label or ""), short(feedback.comment or "")])
    target = feedback.target_trace_id
    about = f" about trace {visible(target)}" if target not in {None, trace_id} else ""
    return Text.assemble((f"feedback {visible(feedback.name)}{about}", "bold blue"), f"  {said}")


def cut(text: str, limit: int = MAX_TEXT) -> str:
    """A text over several lines, cut."""
    text = text.strip()
    return visible(text if len(text) <= limit else f"{text[:limit]}… (+{len(text) - limit:,} characters)")


def short(text: str, limit: int = _MAX_VALUE) -> str:
    """On one line."""
    return cut(" ".join(text[: 4 * limit].split()) + (" …" if len(text) > 4 * limit else ""), limit)


def joined(facts: Iterable[str]) -> str:
    """The facts that there are."""
    return " · ".join(fact for fact in facts if fact)


def count(number: int, what: str) -> str:
    """A number of things."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def duration(seconds: float | None) -> str:
    """A time in the unit that reads best."""
    if seconds is None:
        return ""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1e3:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def tokens(usage: Usage) -> str:
    """Tokens in and out."""
    if usage.input_tokens is None and usage.output_tokens is None:
        return ""
    cached = f" ({usage.cache_read_input_tokens:,} cached)" if usage.cache_read_input_tokens else ""
    thought = f" ({usage.reasoning_output_tokens:,} reasoning)" if usage.reasoning_output_tokens else ""
    return f"tokens {usage.input_tokens or 0:,} in{cached}, {usage.output_tokens or 0:,} out{thought}"


def cost(cost: float | None) -> str:
    """US dollars."""
    return "" if cost is None else f"${cost:.6f}".rstrip("0").rstrip(".") if cost < 0.01 else f"${cost:.2f}"
