"""What went wrong in a span."""

import re
from typing import Final

from otel_eval.traces import fields
from otel_eval.traces.records import SpanKind, TraceError
from otel_eval.traces.span import Event, SpanReader
from otel_eval.traces.values import cut, number, text_or_none

_EXCEPTIONS: Final = ("exception", "gen_ai.client.operation.exception")
_LEADING_TYPE: Final = re.compile(r"([A-Za-z_][\w.]{2,100}?(?:Error|Exception|Behavior|Interrupt|Triggered))\b")
_MAX_MESSAGE: Final = 10_000
_CANCELLED: Final = re.compile("cancel|abort|client.?disconnect|GeneratorExit", re.IGNORECASE)
# Looked for in the type, then in the beginning of the message; the first that is found counts.
_CATEGORIES: Final = (
    ("cancelled", _CANCELLED),
    ("rate_limit", re.compile(r"rate.?limit|too.?many.?requests|quota|resource.?exhausted|throttl|\b429\b", re.IGNORECASE)),
    ("context_length", re.compile(r"context.?(length|window)|prompt is too long|maximum context", re.IGNORECASE)),
    ("timeout", re.compile(r"time.?d?.?out|deadline", re.IGNORECASE)),
    ("authentication", re.compile(r"authenti|unauthori|permission|forbidden|api.?key|\b40[13]\b", re.IGNORECASE)),
    ("connection", re.compile(r"connection|connect.?error|unreachable|ECONN|\bdns\b", re.IGNORECASE)),
    ("server_error", re.compile(
        r"server.?error|api_error|overload|unavailable|bad.?gateway|\b5\d\d\b", re.IGNORECASE)),
    ("invalid_request", re.compile(r"bad.?request|invalid.?request|not.?found|unprocessable|\b4(00|04|22)\b", re.IGNORECASE)),
)  # fmt: skip
_CATEGORY_TEXT: Final = 300


def error_of(span: SpanReader, kind: SpanKind) -> TraceError | None:
    """The span's error: its status, exception, error attributes, log level, HTTP status or `success`."""
    exception = _exception(span)
    error_type = text_or_none(fields.read(span, "error_type"))
    message = text_or_none(fields.read(span, "error_message"))
    if not (span.failed or exception is not None or error_type or message or _failed_by_attributes(span)):
        return None
    if exception is not None:
        error_type = text_or_none(exception.get("exception.type")) or error_type
        message = text_or_none(exception.get("exception.message")) or message
    message = message or span.status_message or text_or_none(span.get("langfuse.observation.status_message"))
    if error_type is None and message:
        leading = _LEADING_TYPE.match(message)
        error_type = leading.group(1) if leading else None
    code = number(span.get("http.response.status_code"))
    if error_type is None and code is not None and code >= 400:
        error_type = str(int(code))
    return TraceError(
        _category(error_type, code, message), error_type and error_type[:500], message and cut(message, _MAX_MESSAGE),
        span.span_id, span.name, kind,
    )  # fmt: skip


def _category(error_type: str | None, code: float | None, message: str | None) -> str | None:
    for text in (error_type, str(int(code)) if code is not None else None, message):
        found = next((name for name, words in _CATEGORIES if words.search((text or "")[:_CATEGORY_TEXT])), None)
        if found is not None:
            return found
    return None


def was_cancelled(span: SpanReader, error: TraceError | None) -> bool:
    """Whether somebody stopped it rather than that it failed."""
    if fields.read(span, "response_status") in {"cancelled", "canceled"}:
        return True
    return error is not None and bool(_CANCELLED.search(error.type or ""))


def _exception(span: SpanReader) -> Event | None:
    """The last exception, unless it is a handled one on a span that says that it went well."""
    for name in _EXCEPTIONS:
        events = span.events.get(name)
        if events and (span.failed or not span.succeeded):
            return events[-1]
    return None


def _failed_by_attributes(span: SpanReader) -> bool:
    if "langfuse.observation.level" in span.attributes and span.get("langfuse.observation.level") == "ERROR":
        return True
    if "http.response.status_code" in span.attributes:
        code = number(span.get("http.response.status_code"))
        if code is not None and code >= 400:
            return True
    if "gen_ai.response.status" in span.attributes and span.get("gen_ai.response.status") == "failed":
        return True
    return "success" in span.attributes and span.get("success") in (False, "false")
