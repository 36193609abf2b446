"""Scrubbing what is passed on to backends: the one exception to requests that go through as they came.

A trace comes in several requests, and not to one hop alone, so its values cannot be counted. The number in a placeholder is
a keyed hash of the value instead: the same value has the same placeholder in all requests until the hop is started again,
and who does not have the key, which is in memory only, cannot try values out.
"""

import secrets
from collections.abc import Callable

from otel_eval.records import Kind
from otel_eval.scrub.config import ScrubConfig
from otel_eval.scrub.request import scrub_request
from otel_eval.scrub.scrubber import Scrubber

_KEY_BYTES = 32


def forwarding(config: ScrubConfig) -> Callable[[Kind, bytes], bytes] | None:
    """What makes of a request's body the one that is passed on; None where that is the same.

    Metrics stay as they are. What `scrub_request` raises goes through; nothing is passed on unscrubbed.
    """
    if not config.forwarded:
        return None
    key = secrets.token_bytes(_KEY_BYTES)

    def scrub(kind: Kind, body: bytes) -> bytes:
        return body if kind is Kind.METRICS else scrub_request(kind, body, Scrubber(config, key))

    return scrub
