"""Our own log lines: on stderr, as text or JSON, and never a flood.

Of one line (level and text) the first ten in ten seconds are written; the next one after that says how many were not.
What comes from outside (a backend's error text, say) is cut and its control characters are escaped, so that it cannot
forge a line.
"""

import logging
import sys
import time
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

_WINDOW_S = 10.0
_LINES_IN_WINDOW = 10
_MAX_CHARACTERS = 1000


def configure(level: str = "info", form: str = "text") -> None:
    """Set up logging for the process; may be called again."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        harmless,
    ]
    render: Any = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
    )
    structlog.configure(
        processors=[RateLimit(), *shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render]
        )
    )
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)


class RateLimit:
    """Drops repetitions of a line within a window and tells their number afterwards."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def __call__(self, _: WrappedLogger, method: str, event: EventDict) -> EventDict:
        """The structlog processor."""
        key = (method, str(event.get("event")))
        started, count = self._seen.get(key, (0.0, 0))
        now = time.monotonic()
        if now - started >= _WINDOW_S:
            if count > _LINES_IN_WINDOW:
                event["repeated"] = count - _LINES_IN_WINDOW
            started, count = now, 0
        self._seen[key] = (started, count + 1)
        if count >= _LINES_IN_WINDOW:
            raise structlog.DropEvent
        return event


def harmless(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Cut long texts and escape their control characters; a traceback is ours and stays."""
    for key, value in event.items():
        if isinstance(value, str) and key != "exception" and not (value.isprintable() and len(value) <= _MAX_CHARACTERS):
            text = value[:_MAX_CHARACTERS]
            event[key] = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return event
