"""What columns can hold: a value that does not fit becomes the nearest one that does, so that no row is ever refused."""

import math
from collections.abc import Iterable
from typing import Final

from otel_eval.sampling.ledger import MINUTE_NS

_MAX_INT64: Final = (1 << 63) - 1
_MAX_MILLISECONDS: Final = 10_413_791_999_999
_MAX_SECONDS: Final = (1 << 32) - 1


def nanoseconds(value: int) -> int:
    """A DateTime64(9) from ns since 1970: 1970 to 2262."""
    return min(max(value, 0), _MAX_INT64)


def milliseconds(value: int) -> int:
    """A DateTime64(3) from ms since 1970: 1970 to 2299."""
    return min(max(value, 0), _MAX_MILLISECONDS)


def seconds(value: int) -> int:
    """A DateTime from seconds since 1970: 1970 to 2106."""
    return min(max(value, 0), _MAX_SECONDS)


def minute(value: int) -> int:
    """A DateTime from minutes since 1970."""
    return seconds(value * (MINUTE_NS // 10**9))


def unsigned(value: int, bits: int = 64) -> int:
    """A UInt of so many bits."""
    return min(max(value, 0), (1 << bits) - 1)


def signed(value: int) -> int:
    """An Int64."""
    return min(max(value, -_MAX_INT64 - 1), _MAX_INT64)


def count(value: int | None) -> int | None:
    """A Nullable(UInt64)."""
    return None if value is None else unsigned(value)


def probability(value: float) -> float:
    """From 0 to 1, 0 for what is no number."""
    return min(max(value, 0.0), 1.0) if math.isfinite(value) else 0.0


def finite(value: float | None) -> float | None:
    """A Nullable(Float64): sums and averages must stay numbers."""
    return value if value is not None and math.isfinite(value) else None


def known(value: float) -> float:
    """A Float64, 0 for what is no number."""
    return value if math.isfinite(value) else 0.0


def text(value: str | None) -> str:
    """A String; '' for none. What UTF-8 does not have becomes '?'."""
    return (value or "").encode(errors="replace").decode()


def texts(values: Iterable[str | None]) -> list[str]:
    """An Array(String)."""
    return [text(value) for value in values]
