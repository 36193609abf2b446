"""The exporters that apply when none is configured: the standard OTLP variables, else `debug`.

Source: OpenTelemetry specification, `protocol/exporter.md`. The timeout is in milliseconds, as it says there.
"""

import os
from typing import Any
from urllib.parse import unquote

from otel_eval.errors import ConfigError
from otel_eval.records import Kind

_PROTOCOLS = {"grpc": "otlp", "http/protobuf": "otlp_http"}


def exporters() -> tuple[dict[str, Any], list[str]]:
    """The `exporters` section that the environment asks for, and a note that says so."""
    groups: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for kind in Kind:
        settings = _exporter(kind)
        if settings is not None:
            groups.setdefault(repr(settings), (settings, []))[1].append(kind.value)
    if not groups:
        note = (
            "no exporter is configured and OTEL_EXPORTER_OTLP_ENDPOINT is not set: "
            "what arrives is only counted on stdout by the debug exporter"
        )
        return {"debug": {}}, [note]
    section: dict[str, Any] = {}
    for settings, kinds in groups.values():
        exporter_type = settings.pop("type")
        name = exporter_type if len(groups) == 1 else f"{exporter_type}/{'-'.join(kinds)}"
        section[name] = {**settings, "types": kinds}
    return section, [f"exporters are taken from OTEL_EXPORTER_OTLP_*: {', '.join(section)}"]


def _variable(kind: Kind, name: str) -> str | None:
    """The variable of that kind of request, else the general one; an empty one counts as not set."""
    own = os.environ.get(f"OTEL_EXPORTER_OTLP_{kind.upper()}_{name}")
    return own or os.environ.get(f"OTEL_EXPORTER_OTLP_{name}") or None


def _exporter(kind: Kind) -> dict[str, Any] | None:
    endpoint = _variable(kind, "ENDPOINT")
    if endpoint is None:
        return None
    default = "http/protobuf" if endpoint.split("://")[-1].split("/")[0].endswith(":4318") else "grpc"
    protocol = _variable(kind, "PROTOCOL") or default
    if protocol not in _PROTOCOLS:
        raise ConfigError(f"OTEL_EXPORTER_OTLP_PROTOCOL: {protocol!r} is not supported (allowed: {', '.join(_PROTOCOLS)})")
    own_endpoint = bool(os.environ.get(f"OTEL_EXPORTER_OTLP_{kind.upper()}_ENDPOINT"))
    settings: dict[str, Any] = {"type": _PROTOCOLS[protocol]}
    if protocol == "http/protobuf" and own_endpoint:  # used as it is; the general one gets /v1/... appended
        settings["endpoint"] = endpoint
        settings[f"{kind}_endpoint"] = endpoint
    else:
        settings["endpoint"] = endpoint
    headers = _variable(kind, "HEADERS")
    if headers:
        settings["headers"] = _headers(headers)
    compression = _variable(kind, "COMPRESSION")
    settings["compression"] = compression or "none"
    timeout = _variable(kind, "TIMEOUT")
    if timeout:
        settings["timeout"] = f"{timeout}ms"
    tls = {
        "ca_file": _variable(kind, "CERTIFICATE"),
        "key_file": _variable(kind, "CLIENT_KEY"),
        "cert_file": _variable(kind, "CLIENT_CERTIFICATE"),
        "insecure": (_variable(kind, "INSECURE") or "").lower() == "true" or None,
    }
    settings["tls"] = {key: value for key, value in tls.items() if value is not None}
    return settings


def _headers(text: str) -> dict[str, str]:
    """`a=b,c=d` with percent-encoded values."""
    pairs = (pair.partition("=") for pair in text.split(",") if pair.strip())
    return {key.strip().lower(): unquote(value.strip()) for key, _, value in pairs}
