"""The errors that cross the borders between parts.

    OtelEvalError
    ├── ConfigError       the user must change something; shown without a traceback
    ├── RetryableError    the same request may succeed later: UNAVAILABLE / 503, or our own retry
    └── PermanentError    the same request can never succeed: INVALID_ARGUMENT / 400, or the dead-letter store
        └── TooLargeError     over a size limit: RESOURCE_EXHAUSTED / 413

Receivers turn the last three into OTLP statuses; exporters raise them for what the downstream answered.
Only one question matters to a sender: may it try the same bytes again?
"""


class OtelEvalError(Exception):
    """Anything that this program raises on purpose."""


class ConfigError(OtelEvalError):
    """The configuration or the command line cannot be used; the text says where and what is allowed."""


class RetryableError(OtelEvalError):
    """The request may succeed later.

    `retry_after_s` is the wait in seconds that the refusing side asks for, None when it named none.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class PermanentError(OtelEvalError):
    """The request can never succeed as it is.

    `blames_request` is False when the refusal was not about these bytes (no such service there): sending a part
    of them would be refused just the same.
    """

    def __init__(self, message: str, *, blames_request: bool = True) -> None:
        super().__init__(message)
        self.blames_request = blames_request


class TooLargeError(PermanentError):
    """The request is over a limit in bytes or items."""
