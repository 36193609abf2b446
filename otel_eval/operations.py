"""The pages for whoever operates the process: health and metrics."""

from collections.abc import Callable
from typing import Any

from aiohttp import web

from otel_eval.config.values import ListenAddress
from otel_eval.errors import ConfigError
from otel_eval.telemetry import Metrics

_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


class Page:
    """A small HTTP server for one of the addresses in `telemetry`."""

    def __init__(self, key: str, address: ListenAddress, routes: list[web.RouteDef]) -> None:
        self._key = key
        self._address = address
        app = web.Application()
        app.add_routes(routes)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)

    async def start(self) -> None:
        """Listen; raises ConfigError when that is not possible."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._address.host, self._address.port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise ConfigError(f"telemetry.{self._key}: cannot listen on {self._address}: {error.strerror}") from None
        self.port = self._runner.addresses[0][1]

    async def shutdown(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()


def health_page(address: ListenAddress, state: Callable[[], dict[str, Any]]) -> Page:
    """`/livez` answers as long as the event loop turns; `/readyz` (and `/`) is 503 while `state()["problems"]` has any."""

    async def live(_: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def ready(_: web.Request) -> web.Response:
        found = state()
        return web.json_response(found, status=503 if found["problems"] else 200)

    return Page("health", address, [web.get("/livez", live), web.get("/readyz", ready), web.get("/", ready)])


def metrics_page(address: ListenAddress, metrics: Metrics) -> Page:
    """`/metrics` in the Prometheus text format."""

    async def show(_: web.Request) -> web.Response:
        return web.Response(body=metrics.prometheus(), headers={"Content-Type": _PROMETHEUS})

    return Page("metrics", address, [web.get("/metrics", show)])
