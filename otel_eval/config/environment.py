"""The exporters that apply when none is configured: the standard OTLP variables, and the embedded ClickHouse if installed.

With neither it is `debug`.

Source: OpenTelemetry specification, `protocol/exporter.md`. The timeout is in milliseconds, as it says there, and the
protocol is http/protobuf unless it is named, or the endpoint is one that only gRPC can mean.
"""

import importlib.util
import os
import re
from typing import Any
from urllib.parse import unquote, urlsplit

from otel_eval.errors import ConfigError
from otel_eval.records import Kind

ORIGIN = "OTEL_EXPORTER_OTLP_*"
_PROTOCOLS = {"grpc": "otlp", "http/protobuf": "otlp_http"}
_EMBEDDED = "chdb"
_GRPC_PORT = re.compile(r".*:4317")


def exporters() -> tuple[dict[str, Any], list[str]]:
    """The `exporters` section that the environment asks for, and a note that says so; raises ConfigError."""
    groups: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for kind in Kind:
        settings = _exporter(kind)
        if settings is not None:
            groups.setdefault(repr(settings), (settings, []))[1].append(kind.value)
    embedded: dict[str, Any] = {"clickhouse": {}} if importlib.util.find_spec(_EMBEDDED) is not None else {}
    if not groups:
        what = "goes only to the embedded ClickHouse" if embedded else "is only counted on stdout by the debug exporter"
        note = f"no exporter is configured and OTEL_EXPORTER_OTLP_ENDPOINT is not set: what arrives {what}"
        return embedded or {"debug": {}}, [note]
    section: dict[str, Any] = {}
    for settings, kinds in groups.values():
        exporter_type = settings.pop("type")
        name = exporter_type if len(groups) == 1 else f"{exporter_type}/{'-'.join(kinds)}"
        section[name] = {**settings, "types": kinds}
    return {**embedded, **section}, [f"exporters are taken from {ORIGIN}: {', '.join(section)}"]


def _variable(kind: Kind, name: str) -> tuple[str, str]:
    """Name and value of the variable of that kind of request, else of the general one; an empty one counts as not set."""
    own = f"OTEL_EXPORTER_OTLP_{kind.upper()}_{name}"
    general = f"OTEL_EXPORTER_OTLP_{name}"
    return next(((variable, value) for variable in (own, general) if (value := os.environ.get(variable))), (general, ""))


def _exporter(kind: Kind) -> dict[str, Any] | None:
    variable, endpoint = _variable(kind, "ENDPOINT")
    if not endpoint:
        return None
    exporter_type = _exporter_type(kind, endpoint)
    settings: dict[str, Any] = {"type": exporter_type, "endpoint": endpoint}
    own = variable.endswith(f"{kind.upper()}_ENDPOINT")
    if own and exporter_type == "otlp_http":  # used as it is; the general one gets /v1/... appended
        settings[f"{kind}_endpoint"] = endpoint
    variable, text = _variable(kind, "HEADERS")
    if text:
        settings["headers"] = _headers(variable, text)
    settings["compression"] = _variable(kind, "COMPRESSION")[1] or "none"
    variable, text = _variable(kind, "TIMEOUT")
    if text:
        if not re.fullmatch("[0-9]{1,9}", text):
            raise ConfigError(f"{variable}: {text!r}: expected a number of milliseconds")
        settings["timeout"] = f"{text}ms"
    tls = {
        "ca_file": _variable(kind, "CERTIFICATE")[1],
        "key_file": _variable(kind, "CLIENT_KEY")[1],
        "cert_file": _variable(kind, "CLIENT_CERTIFICATE")[1],
        "insecure": _variable(kind, "INSECURE")[1].lower() == "true",
    }
    settings["tls"] = {key: value for key, value in tls.items() if value}
    return settings


def _exporter_type(kind: Kind, endpoint: str) -> str:
    variable, protocol = _variable(kind, "PROTOCOL")
    if not protocol:
        protocol = "grpc" if "://" not in endpoint or _GRPC_PORT.fullmatch(urlsplit(endpoint).netloc) else "http/protobuf"
    if protocol.lower() not in _PROTOCOLS:
        raise ConfigError(f"{variable}: {protocol!r} is not supported (allowed: {', '.join(_PROTOCOLS)})")
    return _PROTOCOLS[protocol.lower()]


def _headers(variable: str, text: str) -> dict[str, str]:
    """`a=b,c=d` with percent-encoded values."""
    headers = {}
    for pair in text.split(","):
        key, equals, value = pair.strip().partition("=")
        if equals and key.strip():
            headers[key.strip().lower()] = unquote(value.strip())
        elif pair.strip():  # not shown: it may be a secret
            raise ConfigError(f"{variable}: expected key=value pairs, with a comma between them")
    return headers
