"""The one disk budget of all that must not grow without end."""

from collections.abc import Callable

from otel_eval.errors import RetryableError, TooLargeError

RETRY_AFTER_S = 5.0
"""What a refused sender is asked to wait: long enough to spare it, short enough to use room as it comes."""


class DiskBudget:
    """Counts bytes on disk against `limit` bytes; before it refuses, `releases` give back what nobody needs."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.releases: list[Callable[[], None]] = []

    def check(self, size: int) -> None:
        """Raise RetryableError when `size` more bytes do not fit now, TooLargeError when they never will."""
        if size > self.limit:
            raise TooLargeError(f"the request of {size} bytes is larger than the whole journal may be ({self.limit} bytes)")
        if self.used + size > self.limit:
            for release in self.releases:
                release()
        if self.used + size > self.limit:
            raise RetryableError(
                f"the journal is full: {self.used >> 20} of {self.limit >> 20} MiB wait for delivery", RETRY_AFTER_S
            )
