"""Exporters to backends: can each be connected to. Nothing is exported."""

import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from otel_eval.config import exporter_class
from otel_eval.config.models import ClientTls
from otel_eval.doctor.clock import Clocks
from otel_eval.doctor.finding import Finding, Status, ok
from otel_eval.doctor.reaching import Place, connect, headers
from otel_eval.exporters.otlp import ssl_context


async def check(name: str, settings: Any, clocks: Clocks, timeout_s: float) -> Sequence[Finding]:
    """A finding for each place that the exporter sends to."""
    key = f"exporter {name}"
    targets = exporter_class(name)(name, settings).targets
    if not targets:
        return [ok(key, "it sends nothing over the network")]
    found: list[Finding] = []
    for setting, (host, port) in targets.items():
        tls: ClientTls = getattr(settings, "tls", None) or ClientTls()
        scheme = urlsplit(str(getattr(settings, setting, ""))).scheme.lower()
        secure = scheme == "https" or (scheme != "http" and not tls.insecure)
        context = ssl_context(f"exporters.{name}", tls) if secure else None
        place = Place(host, port, context, tls.server_name_override)
        reached = await connect(key, place, timeout_s / 2)
        if scheme in {"http", "https"} and all(one.status is not Status.PROBLEM for one in reached):
            await _look_at_its_clock(key, place, clocks, timeout_s / 3)
        found += reached
    return found


async def _look_at_its_clock(whose: str, place: Place, clocks: Clocks, timeout_s: float) -> None:
    asked_at = time.time()
    url = f"{'https' if place.tls else 'http'}://{place}/"
    clocks.note(whose, await headers(url, place.tls or True, timeout_s), asked_at)
