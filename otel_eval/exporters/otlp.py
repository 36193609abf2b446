"""What the two OTLP exporters share: reading an endpoint, and the answer to an Export call."""

from typing import Any, NamedTuple
from urllib.parse import urlsplit

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_eval import __version__
from otel_eval.config.models import ClientTls
from otel_eval.errors import ConfigError
from otel_eval.records import PartialSuccess

USER_AGENT = f"OTel-OTLP-Exporter-otel_eval/{__version__}"
MAX_RESPONSE_BYTES = 4 << 20


class Endpoint(NamedTuple):
    """Where to; `secure` says whether with TLS."""

    host: str
    port: int
    secure: bool
    path: str = ""


def parse_endpoint(key: str, text: str, tls: ClientTls, default_port: int, *, scheme_needed: bool) -> Endpoint:
    """Read `host:port` or a URL; a scheme decides about TLS, else `tls.insecure` does. Raises ConfigError."""
    expected = "http://host:port or https://host:port" if scheme_needed else "host:port"
    url = urlsplit(text if "://" in text else f"//{text}")
    if url.scheme not in (("http", "https") if scheme_needed else ("", "http", "https")) or not url.hostname:
        raise ConfigError(f"{key}: {text!r}: expected {expected}")
    if url.username or url.password:
        raise ConfigError(f"{key}: credentials do not belong into the endpoint; use headers")
    try:
        port = url.port or default_port
    except ValueError:
        raise ConfigError(f"{key}: {text!r}: expected {expected}") from None
    secure = url.scheme == "https" or (url.scheme == "" and not tls.insecure)
    return Endpoint(url.hostname, port, secure, url.path)


def partial_success(body: bytes) -> PartialSuccess:
    """What a response says; the three kinds of response have one wire form. What cannot be read counts as success."""
    try:
        response: Any = ExportTraceServiceResponse.FromString(body)
    except DecodeError:
        return PartialSuccess()
    return PartialSuccess(response.partial_success.rejected_spans, response.partial_success.error_message)
