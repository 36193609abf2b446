"""A human was asked for: by the user, or by the agent through a tool or a handoff."""

import re
from collections.abc import Sequence
from typing import Final

from otel_eval.sampling.sessions import Turn
from otel_eval.sampling.signals.signal import Signal, because, given
from otel_eval.traces.view import TraceView

_TOOL: Final = re.compile(
    r"escalat|(transfer|hand.?off|handover|forward|connect|route|switch|talk|speak)\w*.?(to)?.?(an?.)?"
    r"(human|live|person|operator|representative|support|supervisor|manager)"
    r"|human.?(handoff|agent|support|takeover|operator)|(request|contact|ask|call|notify).?(a.)?(human|support|operator)|live.?agent",
    re.IGNORECASE,
)
_HUMANS: Final = (
    "human",
    "person",
    "live agent",
    "representative",
    "operator",
    "supervisor",
    "manager",
    "someone real",
    "support",
    "service",
)
_USER: Final = re.compile(
    r"\b(talk|speak|chat|connect|transfer|escalate|put|get)\b[^.?!]{0,30}"
    r"\b(human|real person|live (agent|person)|representative|operator|supervisor|manager|someone real|"
    r"(support|service|human) (agent|staff|team))\b"
    r"|\b(human|live) (agent|being|support|operator|please)\b|\bwant a human\b",
    re.IGNORECASE,
)


def detect(view: TraceView, earlier: Sequence[Turn]) -> Signal | None:
    """The names of tools and handoffs are looked at, then the user's text."""
    reported = given(view, "escalate")
    if reported is not None:
        return reported
    for tool in view.tool_calls:
        if _TOOL.search(tool.name):
            return because(f"tool {tool.name}", tool.span_id)
    for step in view.steps:
        if step.name.lower().startswith("handoff") and _TOOL.search(step.name.replace(" ", "_")):
            return because(step.name, step.span_id)
    text = (view.user_input or "")[:5000].lower()
    asked = _USER.search(text) if any(word in text for word in _HUMANS) else None  # the expression is slow
    return because(f"the user asks: {asked.group(0)}") if asked else None
