"""A small memory of recent sessions, for the signals that cross traces. Bounded in sessions, turns, text and time."""

import re
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from otel_eval.traces.view import TraceView

WINDOW_S: Final = 600.0
"""A session in which nothing came for so long has gone quiet."""

_MAX_TEXT: Final = 500
_SPACES: Final = re.compile(r"\s+")


class Turn(Struct, frozen=True):
    """What is remembered of a trace: who asked what, and whether the answer was a question."""

    trace_id: str
    end_ns: int
    user_text: str
    asked_back: bool


def normalised(text: str) -> str:
    """A user's text for comparing: one case, single spaces, no end punctuation, at most 500 characters."""
    return _SPACES.sub(" ", text[: 4 * _MAX_TEXT].casefold()).strip(" .!?…")[:_MAX_TEXT]


def is_continuation(view: TraceView) -> bool:
    """Whether the trace goes on with an earlier one's work: it starts with a tool's result, not with the user."""
    for call in view.model_calls[:1]:
        if call.input_messages:
            return not call.input_messages[-1].spoken and bool(call.input_messages[-1].tool_results)
    return False


class SessionMemory:
    """The last turns of the sessions seen last.

    At most `max_sessions` sessions of `max_turns` turns, about 1 kB each; what is older than `window_s` is not handed
    out. A trace without session id is remembered under its user; without either it is not.
    """

    def __init__(self, max_sessions: int = 10_000, max_turns: int = 8, window_s: float = WINDOW_S) -> None:
        self._sessions: OrderedDict[tuple[str, str], list[Turn]] = OrderedDict()
        self._max_sessions = max_sessions
        self._max_turns = max_turns
        self._window_ns = int(window_s * 1e9)

    def earlier(self, view: TraceView) -> Sequence[Turn]:
        """The turns of the same session that ended within the window before this trace began, the oldest first."""
        key = _key(view)
        turns = self._sessions.get(key, []) if key is not None else []
        oldest = view.start_ns - self._window_ns
        return [turn for turn in turns if oldest <= turn.end_ns <= view.start_ns and turn.trace_id != view.trace_id]

    def remember(self, view: TraceView) -> None:
        """Add the trace's turn, if a user spoke in it."""
        key, asked = _key(view), view.user_input
        if key is None or not asked or is_continuation(view):
            return
        turns = self._sessions.setdefault(key, [])
        self._sessions.move_to_end(key)
        answer = (view.final_output or "")[-_MAX_TEXT:].rstrip()
        turns.append(Turn(view.trace_id, view.end_ns, normalised(asked), answer.endswith("?")))
        del turns[: -self._max_turns]
        while len(self._sessions) > self._max_sessions:
            self._sessions.popitem(last=False)

    def silent(self, now_ns: int | None = None) -> list[list[Turn]]:
        """The turns of the sessions in which nothing came within the window; each is told once.

        Where the last answer asked something back, the user has gone away.
        """
        before = (time.time_ns() if now_ns is None else now_ns) - self._window_ns
        silent = [key for key, turns in self._sessions.items() if turns[-1].end_ns < before]
        return [self._sessions.pop(key) for key in silent]

    def memory(self) -> list[tuple[tuple[str, str], list[Turn]]]:
        """For `restore`."""
        return list(self._sessions.items())

    def restore(self, memory: Iterable[tuple[tuple[str, str], list[Turn]]]) -> None:
        """Go on with what another one knew."""
        self._sessions = OrderedDict(memory)

    def __len__(self) -> int:
        return len(self._sessions)


def _key(view: TraceView) -> tuple[str, str] | None:
    if view.session_id is not None:
        return "session", view.session_id[:200]
    return ("user", view.user_id[:200]) if view.user_id is not None else None
