"""OTLP/HTTP (protobuf) to a backend."""

import asyncio
import io
import time
import zlib
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime

import aiohttp
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status

from otel_eval.config.models import OtlpExporterConfig
from otel_eval.errors import ConfigError, OtelEvalError, PermanentError, RetryableError, TooLargeError
from otel_eval.exporters import Message
from otel_eval.exporters.otlp import (
    MAX_RESPONSE_BYTES,
    USER_AGENT,
    parse_endpoint,
    partial_success,
    ssl_context,
    without_secrets,
)
from otel_eval.records import Kind, OwnKind, PartialSuccess

_PROTOBUF = "application/x-protobuf"
_RETRYABLE = frozenset({429, 502, 503, 504})
_NOT_ABOUT_THE_REQUEST = frozenset({301, 302, 303, 307, 308, 404, 405})


class OtlpHttpExporter:
    """Sends protobuf bodies by POST."""

    class Config(OtlpExporterConfig, frozen=True, kw_only=True):
        """`endpoint` is a base URL that gets /v1/traces and so on appended; the others are used as they are."""

        endpoint: str | None = None
        traces_endpoint: str | None = None
        logs_endpoint: str | None = None
        metrics_endpoint: str | None = None

        def __post_init__(self) -> None:
            missing = [kind for kind in self.types if self.url(kind) is None]
            if missing:
                raise ValueError(f"expected endpoint (or {missing[0]}_endpoint)")

        def url(self, kind: Kind) -> str | None:
            """Where requests of that kind go."""
            own = {
                Kind.TRACES: self.traces_endpoint,
                Kind.LOGS: self.logs_endpoint,
                Kind.METRICS: self.metrics_endpoint,
            }[kind]
            return own or (f"{self.endpoint.rstrip('/')}/v1/{kind}" if self.endpoint else None)

    def __init__(self, name: str, config: Config) -> None:
        self._config = config
        self._key = f"exporters.{name}"
        self._urls: dict[Kind | OwnKind, str] = {kind: config.url(kind) or "" for kind in config.types}
        settings = (f"{kind}_endpoint" if getattr(config, f"{kind}_endpoint") else "endpoint" for kind in config.types)
        self._targets = {setting: self._parse(setting) for setting in settings}
        self._headers = {name.lower(): value.reveal() for name, value in config.headers.items()}
        self._session: aiohttp.ClientSession | None = None

    @property
    def targets(self) -> Mapping[str, tuple[str, int]]:
        """See Exporter."""
        return self._targets

    async def start(self) -> None:
        """Make the connection pool; it connects when it is first used."""
        config = self._config
        connector = aiohttp.TCPConnector(limit=0, ssl=ssl_context(self._key, config.tls))
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=config.timeout),
            headers={"user-agent": USER_AGENT, **self._headers, "content-type": _PROTOBUF, "accept-encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    async def export(self, message: Message) -> PartialSuccess:
        """See Exporter."""
        headers, body = {}, message.body
        if self._config.compression == "gzip":
            body = await asyncio.to_thread(zlib.compress, body, 6, 31)
            headers["Content-Encoding"] = "gzip"
        session = self._session
        if session is None:
            raise RetryableError("the exporter is stopped")
        try:
            async with session.post(
                self._urls[message.kind],
                data=io.BytesIO(body),  # as bytes, aiohttp would write all of it in one go
                headers=headers,
                allow_redirects=False,
                server_hostname=self._config.tls.server_name_override,
            ) as response:
                answer = await _read_limited(response)
                if response.status // 100 != 2:
                    raise _error_of(response, answer, self._headers.values())
                return partial_success(answer) if response.content_type == _PROTOBUF else PartialSuccess()
        except TimeoutError:
            raise RetryableError(f"no answer within {self._config.timeout}") from None
        except aiohttp.ClientError as error:
            raise RetryableError(f"{type(error).__name__}: {error}") from None

    async def shutdown(self) -> None:
        """See Exporter."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _parse(self, setting: str) -> tuple[str, int]:
        key, url = f"{self._key}.{setting}", str(getattr(self._config, setting))
        port = 443 if url.lower().startswith("https:") else 80
        found = parse_endpoint(key, url, self._config.tls, port, scheme_needed=True)
        if setting == "endpoint" and ("?" in url or "#" in url):
            raise ConfigError(f"{key}: {url!r}: expected http://host:port/path, to which /v1/traces and so on can be appended")
        return found.host, found.port


async def _read_limited(response: aiohttp.ClientResponse) -> bytes:
    """The answer, cut where it exceeds what OTLP allows."""
    chunks = []
    size = 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_RESPONSE_BYTES:
            break
    return b"".join(chunks)[:MAX_RESPONSE_BYTES]


def _error_of(response: aiohttp.ClientResponse, answer: bytes, secrets: Iterable[str]) -> OtelEvalError:
    """The OTLP meaning of an HTTP status; see the package docstring for what differs from the specification."""
    message = f"HTTP {response.status}: {without_secrets(_reason(response, answer), secrets)}"
    if response.status in _RETRYABLE or response.status == 401:
        return RetryableError(message, _retry_after(response.headers.get("Retry-After")))
    if response.status == 413:
        return TooLargeError(message)
    return PermanentError(message, blames_request=response.status not in _NOT_ABOUT_THE_REQUEST)


def _reason(response: aiohttp.ClientResponse, answer: bytes) -> str:
    if response.content_type == _PROTOBUF:
        try:
            return str(Status.FromString(answer).message)
        except DecodeError:
            return response.reason or ""
    return answer[:500].decode(errors="replace") or response.reason or ""


def _retry_after(header: str | None) -> float | None:
    """Seconds of a Retry-After header, which holds seconds or a date."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
