"""OTLP/HTTP (protobuf) to a backend."""

import asyncio
import ssl
import time
import zlib
from email.utils import parsedate_to_datetime

import aiohttp
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status

from otel_eval.config.models import OtlpExporterConfig
from otel_eval.errors import ConfigError, OtelEvalError, PermanentError, RetryableError, TooLargeError
from otel_eval.exporters.otlp import MAX_RESPONSE_BYTES, USER_AGENT, Endpoint, parse_endpoint, partial_success
from otel_eval.records import Kind, PartialSuccess

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
        self._urls = {kind: config.url(kind) or "" for kind in config.types}
        self._endpoints = [self._parse(url) for url in self._urls.values()]
        self._headers = {key: value.reveal() for key, value in config.headers.items()}
        self._session: aiohttp.ClientSession | None = None

    @property
    def target(self) -> tuple[str, int]:
        """See Exporter."""
        return self._endpoints[0].host, self._endpoints[0].port

    async def start(self) -> None:
        """Make the connection pool; it connects when it is first used."""
        config = self._config
        connector = aiohttp.TCPConnector(limit=0, ssl=self._ssl_context())
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=config.timeout),
            headers={"User-Agent": USER_AGENT, **self._headers, "Content-Type": _PROTOBUF},
            auto_decompress=True,
        )

    async def export(self, kind: Kind, body: bytes) -> PartialSuccess:
        """See Exporter."""
        if self._session is None:
            raise RetryableError("the exporter is stopped")
        headers = {}
        if self._config.compression == "gzip":
            body = await asyncio.to_thread(zlib.compress, body, 6, 31)
            headers["Content-Encoding"] = "gzip"
        try:
            async with self._session.post(self._urls[kind], data=body, headers=headers, allow_redirects=False) as response:
                answer = await _read_limited(response)
                if response.status // 100 != 2:
                    raise _error_of(response, answer)
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

    def _parse(self, url: str) -> Endpoint:
        secure = url.startswith("https:")
        return parse_endpoint(f"{self._key}.endpoint", url, self._config.tls, 443 if secure else 80, scheme_needed=True)

    def _ssl_context(self) -> ssl.SSLContext:
        tls = self._config.tls
        try:
            context = ssl.create_default_context(cafile=tls.ca_file)
            if tls.cert_file and tls.key_file:
                context.load_cert_chain(tls.cert_file, tls.key_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"{self._key}.tls: the certificate, key or authority cannot be used: {error}") from None
        if tls.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


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


def _error_of(response: aiohttp.ClientResponse, answer: bytes) -> OtelEvalError:
    """The OTLP meaning of an HTTP status; see the package docstring for what differs from the specification."""
    message = f"HTTP {response.status}: {_reason(response, answer)}"
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
    except ValueError:
        return None
