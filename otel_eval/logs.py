"""Our own log lines: on stderr, as text or JSON, and never a flood.

Of one line (level and text) the first ten in ten seconds are written; the next one after that says how many were not.
What comes from outside (a backend's error text, say) is cut and its control characters are escaped, so that it cannot
forge a line. Nobody fails because a line cannot be written.
"""

import contextlib
import io
import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict, WrappedLogger

_WINDOW_S = 10.0
_LINES_IN_WINDOW = 10
_MAX_CHARACTERS = 1000
_MAX_LINES_KNOWN = 1000


def configure(level: str = "info", form: str = "text") -> None:
    """Set up logging for the process; may be called again."""
    number = logging.getLevelNamesMapping()[level.upper()]
    stderr = cast(TextIO, _Stderr(sys.stderr))
    shared: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        harmless,
    ]
    render: Any = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[RateLimit(), *shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stderr)
    handler.addFilter(_foreign_lines())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render]
        )
    )
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)


class _Stderr(io.TextIOBase):
    """The standard error, as long as somebody reads it: a pipe into `head`, say, ends before we do."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
            self._stream.flush()
        except BrokenPipeError:  # its reader has gone for good; what is buffered would fail once more at the exit
            with contextlib.suppress(OSError), open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())
        except OSError:
            pass
        return len(text)


def _foreign_lines() -> Callable[[logging.LogRecord], bool]:
    """What libraries log is limited as our own lines are; anybody can cause it.

    A malformed HTTP request is answered and not worth a line, which would show its bytes, a token among them.
    """
    limit = RateLimit()

    def wanted(record: logging.LogRecord) -> bool:
        malformed = record.exc_info and type(record.exc_info[1]).__module__.startswith("aiohttp.")
        return not malformed and limit.count(record.name, str(record.msg)) is not None

    return wanted


class RateLimit:
    """Drops repetitions of a line within a window and tells their number afterwards."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def __call__(self, _: WrappedLogger, method: str, event: EventDict) -> EventDict:
        """The structlog processor."""
        left_out = self.count(method, str(event.get("event")))
        if left_out is None:
            raise structlog.DropEvent
        if left_out:
            event["repeated"] = left_out
        return event

    def count(self, source: str, text: str) -> int | None:
        """How many of this line were left out before it, None when it is to be left out itself."""
        if len(self._seen) >= _MAX_LINES_KNOWN:
            self._seen.clear()
        started, count = self._seen.get((source, text), (0.0, 0))
        now = time.monotonic()
        left_out = 0
        if now - started >= _WINDOW_S:
            left_out = max(0, count - _LINES_IN_WINDOW)
            started, count = now, 0
        self._seen[source, text] = (started, count + 1)
        return None if count >= _LINES_IN_WINDOW else left_out


def harmless(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Cut long texts and escape their control characters; a traceback is ours and keeps its length and its lines."""
    for key, value in event.items():
        if isinstance(value, str):
            lines = value.split("\n") if key == "exception" else [value[:_MAX_CHARACTERS]]
            event[key] = "\n".join(line if line.isprintable() else _escaped(line) for line in lines)
    return event


def _escaped(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
