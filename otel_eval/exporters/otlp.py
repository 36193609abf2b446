"""What the two OTLP exporters share: reading their settings, and the answer to an Export call."""

import ssl
from collections.abc import Iterable
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

_SHORTEST_SECRET = 4


class Endpoint(NamedTuple):
    """Where to; `secure` says whether with TLS."""

    host: str
    port: int
    secure: bool


def parse_endpoint(key: str, text: str, tls: ClientTls, default_port: int, *, scheme_needed: bool) -> Endpoint:
    """Read `host:port` or a URL; a scheme decides about TLS, else `tls.insecure` does. Raises ConfigError."""
    if "@" in text:  # looked for in the whole text: what cannot be read as a URL may hold a password too
        raise ConfigError(f"{key}: credentials do not belong into the endpoint; use headers")
    expected = "http://host:port or https://host:port" if scheme_needed else "host:port"
    wrong = ConfigError(f"{key}: {text!r}: expected {expected}")
    try:
        url = urlsplit(text if "://" in text else f"//{text}")
        port = default_port if url.port is None else url.port
    except ValueError:
        raise wrong from None
    host = url.hostname or ""
    known_scheme = url.scheme in (("http", "https") if scheme_needed else ("", "http", "https"))
    path_without_url = url.scheme == "" and url.path  # such as unix:/socket
    if not known_scheme or path_without_url or not port or not host or not host.isprintable() or " " in host:
        raise wrong
    secure = url.scheme == "https" or (url.scheme == "" and not tls.insecure)
    return Endpoint(host, port, secure)


def without_secrets(text: str, values: Iterable[str]) -> str:
    """The text of a backend without the header values, and the tokens in them, that it may repeat."""
    for value in values:
        for secret in (value, value.rpartition(" ")[2]):
            if len(secret) >= _SHORTEST_SECRET:
                text = text.replace(secret, "****")
    return text


def ssl_context(key: str, tls: ClientTls) -> ssl.SSLContext:
    """The context of a TLS client; raises ConfigError for files that cannot serve."""
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        if tls.cert_file and tls.key_file:
            context.load_cert_chain(tls.cert_file, tls.key_file, password="")  # else OpenSSL asks the terminal
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(str(file) for file in (tls.ca_file, tls.cert_file, tls.key_file) if file is not None)
        raise ConfigError(f"{key}.tls: the certificate, key or authority cannot be used ({files}): {error}") from None
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def partial_success(body: bytes) -> PartialSuccess:
    """What a response says; the three kinds of response have one wire form. What cannot be read counts as success."""
    try:
        response: Any = ExportTraceServiceResponse.FromString(body)
    except DecodeError:
        return PartialSuccess()
    return PartialSuccess(response.partial_success.rejected_spans, response.partial_success.error_message)
