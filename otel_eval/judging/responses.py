"""What the answers of all providers have in common: waits, counts, and texts that may be shown."""

import math
import time
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime

from otel_eval.config.values import Secret

SIMULATED_HEADER = "x-otel-eval-simulated"
SIMULATED_SUFFIX = "-simulated"

_LONGEST_WAIT_S = 366 * 86400.0
"""Of what a provider may ask for: a wait must remain a time of which a clock can be told."""

_LONGEST_SHOWN = 300
_RUN = 16
_STEP = 4


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that the provider asks to wait, a year at most: `retry-after-ms`, else `retry-after` in seconds or as a date."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        if math.isfinite(seconds):
            return min(max(0.0, seconds), _LONGEST_WAIT_S)
    try:
        return max(0.0, parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time())
    except (KeyError, ValueError, OverflowError):
        return None


def count(value: object) -> int | None:
    """A number of tokens as JSON has it, None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else None


def text(value: object) -> str:
    """A text as JSON has it, empty for anything else."""
    return value if isinstance(value, str) else ""


def mapping(value: object) -> Mapping[str, object]:
    """An object as JSON has it, empty for anything else."""
    return value if isinstance(value, dict) else {}


def encodable(value: str) -> str:
    """The text with `?` for lone surrogates, which no request can carry."""
    return value.encode(errors="replace").decode()


def is_simulated(headers: Mapping[str, str], answered_by: str | None) -> bool:
    """Whether the stand-in has answered, not a model."""
    return SIMULATED_HEADER in headers or (answered_by or "").endswith(SIMULATED_SUFFIX)


def shown(message: str, secret: Secret, asked: Iterable[str]) -> str:
    """A provider's error text as people may see it: one short line, without the key.

    A text that repeats a piece of what was asked (nineteen characters are found for sure) is left out.
    """
    line = message.replace(secret.reveal(), "****") if secret.reveal() else message
    line = "".join(c if c.isprintable() else " " for c in line[:_LONGEST_SHOWN])
    runs = [line[start : start + _RUN] for start in range(0, len(line) - _RUN + 1, _STEP)]
    if any(run in part for part in asked for run in runs):
        return "the provider's text repeats what was asked and is not shown"
    return line
