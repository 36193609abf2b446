"""The addresses to listen on: free, or used by a hop that runs already."""

import asyncio
import errno
import socket
from collections.abc import Iterator
from typing import Any, Final

import aiohttp

from otel_eval.config import Config
from otel_eval.config.values import ListenAddress
from otel_eval.doctor.finding import Finding, ok, problem, warning
from otel_eval.doctor.storage import owner
from otel_eval.errors import ConfigError
from otel_eval.receivers.security import ssl_context

_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not bound


async def check(config: Config, timeout_s: float) -> list[Finding]:
    """A finding for each address."""
    process = owner(config.journal.directory)
    findings = [] if process is None else [await _health(process, config.telemetry.health, timeout_s / 2)]
    hop = None if process is None else f"the hop that runs (process {process})"
    for key, address, section in _listening(config):
        name = f"port {key}"
        findings.append(await asyncio.to_thread(_port, name, address, hop))  # names may have to be resolved
        if section is not None and not address.is_loopback and section.auth is None:
            who = "everybody who reaches it may send"
            findings.append(warning(name, f"{address} is not loopback, and {who}: set auth, or listen on 127.0.0.1"))
        if section is not None and section.tls is not None:
            try:
                ssl_context(section.tls, key)
            except ConfigError as error:
                findings.append(problem(name, str(error)))
    return findings


def _listening(config: Config) -> Iterator[tuple[str, ListenAddress, Any]]:
    """Each address with its place in the configuration, and the section of what takes requests there."""
    protocols = config.receivers.otlp.protocols
    for name, section in (("grpc", protocols.grpc), ("http", protocols.http)):
        if section is not None:
            yield f"receivers.otlp.{name}", section.endpoint, section
    if config.api.endpoint is not None and config.sampling.enabled:
        yield "api", config.api.endpoint, config.api
    for name, page in (("metrics", config.telemetry.metrics), ("health", config.telemetry.health)):
        if page is not None:
            yield f"telemetry.{name}", page, None


def _port(name: str, address: ListenAddress, hop: str | None) -> Finding:
    if address.port == 0:
        return ok(name, "the system chooses a port")
    try:
        _bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            if hop is not None:
                return ok(name, f"{address} is in use by {hop}")
            return problem(name, f"{address} is in use by another program; stop that, or choose another port")
        if error.errno in {errno.EACCES, errno.EPERM}:
            return problem(name, f"{address}: not allowed; ports below 1024 need a privilege, so choose a higher one")
        return problem(name, f"{address}: {error.strerror or error}; this machine must have the address")
    return ok(name, f"{address} is free")


def _bind(address: ListenAddress) -> None:
    """Take the address for a moment; raises OSError."""
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, kind, protocol, _, where in found:
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(where)
            listener.listen(1)


async def _health(process: str, page: ListenAddress | None, timeout_s: float) -> Finding:
    """What the health page of the hop that runs says."""
    if page is None:
        return ok("hop", f"process {process} runs with this journal; it has no health page")
    host = _EVERYWHERE.get(page.host, page.host)
    url = f"http://{f'[{host}]' if ':' in host else host}:{page.port}/readyz"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout_s)) as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            shown = await answer.json()
        problems = [str(one)[:200] for one in shown["problems"]]
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError):
        return warning("hop", f"process {process} runs with this journal, but its health page on {page} does not answer")
    if problems:
        return warning("hop", f"process {process} runs, and says: {'; '.join(problems)}")
    return ok("hop", f"process {process} runs, and says that it is ready")
