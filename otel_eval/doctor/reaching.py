"""Connecting to a server without sending it anything that counts."""

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import aiohttp

from otel_eval import __version__
from otel_eval.doctor.finding import Finding, ok, problem, warning

_SOON_S: Final = 14 * 86_400.0
_AGENT: Final = {"user-agent": f"otel_eval/{__version__} doctor"}


class Place(NamedTuple):
    """Where to connect to; `tls` is the context, None for none, `name` the one that the certificate must have."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    name: str | None = None

    def __str__(self) -> str:
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


async def connect(check: str, place: Place, timeout_s: float) -> list[Finding]:
    """A connection with its TLS handshake, which is closed at once."""
    try:
        async with asyncio.timeout(timeout_s * 0.8):  # so that our words come before those of whoever limits all
            server_name = (place.name or place.host) if place.tls else None
            _, writer = await asyncio.open_connection(place.host, place.port, ssl=place.tls, server_hostname=server_name)
    except (OSError, TimeoutError) as error:
        return [problem(check, f"{place}: {_why(error, place)}")]
    try:
        return [_certified(check, place, writer.get_extra_info("ssl_object"))]
    finally:
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(timeout_s * 0.1):
                await writer.wait_closed()


def _why(error: Exception, place: Place) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}; renew it, or give its authority as tls.ca_file"
    if isinstance(error, ssl.SSLError):
        said = (error.reason or "it broke off").lower().replace("_", " ")
        return f"no TLS handshake: {said}; does it speak TLS, and does it want a certificate of ours?"
    if isinstance(error, socket.gaierror):
        return f"the name has no address: {(error.strerror or '').lower()}; correct the endpoint"
    if isinstance(error, TimeoutError) and place.tls is not None:
        return "no connection with TLS in time; is it there, and does it speak TLS?"
    known = next((text for kind, text in _FAILURES.items() if isinstance(error, kind)), None)
    return known or f"it cannot be reached: {getattr(error, 'strerror', None) or type(error).__name__}"


_FAILURES: Final[dict[type[Exception], str]] = {
    TimeoutError: "no connection in time; is it there, and does a firewall let us through?",
    ConnectionRefusedError: "the connection is refused; nothing listens there, so start it or correct the endpoint",
    ConnectionError: "it closed the connection; does it want TLS, or another port?",
}


def _certified(check: str, place: Place, session: ssl.SSLObject | None) -> Finding:
    if session is None:
        return ok(check, f"{place} takes connections")
    certificate: Any = session.getpeercert()
    if not certificate:
        return warning(check, f"{place} takes connections with TLS, but its certificate is not verified (insecure_skip_verify)")
    left_s = ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()
    until = f"its certificate is valid until {certificate['notAfter']}"
    if left_s < _SOON_S:
        return warning(check, f"{place} takes connections with TLS; {until}: {left_s / 86_400:.0f} days, so renew it")
    return ok(check, f"{place} takes connections with TLS; {until}")


async def headers(url: str, tls: ssl.SSLContext | bool, timeout_s: float, *, by_proxy: bool = False) -> Mapping[str, str]:
    """What a server answers to HEAD, whatever its status; nothing when it gives no answer."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout_s), trust_env=by_proxy, headers=_AGENT) as session,
            session.head(url, ssl=tls, allow_redirects=False) as answer,
        ):
            return answer.headers
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return {}
