"""What an exporter's settings may be: mistakes are told before anything is sent, and never with a secret in them."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_eval.config import load
from otel_eval.config.models import ClientTls
from otel_eval.errors import ConfigError
from otel_eval.exporters.otlp import parse_endpoint, partial_success
from otel_eval.exporters.running import build_exporters
from tests import hop
from tests.exporters.backends import PROTOCOLS, exporter_to


def build(directory: Path, exporters: dict[str, Any]) -> dict[str, Any]:
    return build_exporters(load(str(hop.write_config(directory, {"exporters": exporters}))).config)


def endpoint(protocol: str, text: str) -> dict[str, Any]:
    return {"otlp": {"endpoint": text}} if protocol == "grpc" else {"otlp_http": {"endpoint": text}}


TARGETS = [
    ("grpc", "tempo:4317", ("tempo", 4317)),
    ("grpc", "tempo", ("tempo", 4317)),
    ("grpc", "http://tempo:9", ("tempo", 9)),
    ("grpc", "https://tempo", ("tempo", 4317)),
    ("grpc", "[2001:db8::1]:55", ("2001:db8::1", 55)),
    ("http", "http://tempo:4318", ("tempo", 4318)),
    ("http", "https://tempo/otlp/", ("tempo", 443)),
    ("http", "http://[::1]/otlp", ("::1", 80)),
]


@pytest.mark.parametrize(("protocol", "text", "target"), TARGETS)
def test_an_endpoint_is_understood(tmp_path: Path, protocol: str, text: str, target: tuple[str, int]) -> None:
    (exporter,) = build(tmp_path, endpoint(protocol, text)).values()
    assert exporter.targets == {"endpoint": target}


BAD = [
    *("", " ", "http://", ":4317", "tempo:port", "tempo:99999", "tempo:-1", "ftp://tempo:4317", "tempo:1:2", "[::1:4317"),
    *("http://[::1", "grpc://tempo:4317", "://tempo", "tempo tempo:4317", "dns:///tempo:4317", "unix:/run/tempo.sock", "tempo:0"),
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("text", BAD)
def test_a_bad_endpoint_is_refused_with_its_key(tmp_path: Path, protocol: str, text: str) -> None:
    with pytest.raises(ConfigError, match=r"exporters.*otlp.*endpoint"):
        build(tmp_path, endpoint(protocol, text))


@pytest.mark.parametrize("text", ["tempo:4318", "localhost", "http://tempo/otlp?tenant=1", "http://tempo/#part"])
def test_an_http_endpoint_must_be_a_plain_url(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"exporters\.otlp_http\.endpoint: .*expected http"):
        build(tmp_path, endpoint("http", text))


def test_the_message_names_the_endpoint_that_is_wrong(tmp_path: Path) -> None:
    settings = {"endpoint": "http://tempo", "logs_endpoint": "loki:3100"}
    with pytest.raises(ConfigError, match=r"exporters\.otlp_http/x\.logs_endpoint: 'loki:3100'"):
        build(tmp_path, {"otlp_http/x": settings})


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "text",
    [
        *("http://user:hunter2@tempo:4317", "https://hunter2@tempo", "ftp://user:hunter2@tempo", "user:hunter2@tempo:4317"),
        *("http://user:hunter2@[::1", "http://user:hunter2@tempo:99999", "hunter2@tempo", "http://hunter2@"),
    ],
)
def test_credentials_in_an_endpoint_are_refused_and_not_repeated(tmp_path: Path, protocol: str, text: str) -> None:
    with pytest.raises(ConfigError, match="use headers") as refusal:
        build(tmp_path, endpoint(protocol, text))
    assert "hunter2" not in str(refusal.value)


@given(st.text(max_size=50) | st.from_regex(r"(http://)?[\[\]:a-z0-9@./ ]{0,12}:?[0-9]{0,7}"), st.booleans())
def test_any_text_as_endpoint_is_read_or_refused(text: str, scheme_needed: bool) -> None:
    try:
        found = parse_endpoint("key", text, ClientTls(), 4317, scheme_needed=scheme_needed)
    except ConfigError:
        return
    assert found.host
    assert 0 < found.port < 65536


@given(st.binary(max_size=200))
def test_any_bytes_as_response_are_read(body: bytes) -> None:
    partial_success(body)


BAD_HEADERS = {
    "a line break": ("authorization", "Bearer hunter2\nx: y"),
    "a carriage return": ("authorization", "Bearer hunter2\rx"),
    "a zero byte": ("authorization", "Bearer hunter2\0"),
    "not ASCII": ("authorization", "Bearer hunter2 é"),
    "a name with a space": ("bad name", "hunter2"),
    "a name with a colon": ("bad:", "hunter2"),
    "an empty name": ("", "hunter2"),
    "a pseudo header": (":path", "hunter2"),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("case", BAD_HEADERS)
def test_a_header_that_cannot_be_sent_is_refused_and_its_value_not_shown(tmp_path: Path, protocol: str, case: str) -> None:
    """gRPC would answer each call with INTERNAL for it, and everything would become a dead letter."""
    name, value = BAD_HEADERS[case]
    with pytest.raises(ConfigError, match=r"exporters\.\w+\.headers") as refusal:
        build(tmp_path, exporter_to(protocol, 1, 1, headers={name: value}))
    assert "hunter2" not in str(refusal.value)


def test_a_binary_header_is_refused_for_grpc(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"headers.*x-token-bin"):
        build(tmp_path, exporter_to("grpc", 1, 1, headers={"X-Token-Bin": "abc"}))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_timeout_of_zero_is_refused(tmp_path: Path, protocol: str) -> None:
    """gRPC would give up every call at once, HTTP never."""
    with pytest.raises(ConfigError, match=r"exporters\.\w+\.timeout"):
        build(tmp_path, exporter_to(protocol, 1, 1, timeout=0))


def test_grpc_refuses_to_skip_verification(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"exporters\.otlp\.tls\.insecure_skip_verify.*ca_file"):
        build(tmp_path, {"otlp": {"endpoint": "tempo:4317", "tls": {"insecure_skip_verify": True}}})


@pytest.mark.parametrize(
    ("key", "url"),
    [
        ("endpoint", "http://127.0.0.1:{}"),
        ("traces_endpoint", "http://localhost:{}/v1/traces"),
        ("logs_endpoint", "http://127.0.0.5:{}/v1/logs"),
        ("metrics_endpoint", "http://[::1]:{}/v1/metrics"),
    ],
)
def test_sending_to_our_own_receiver_is_refused(tmp_path: Path, key: str, url: str) -> None:
    settings = {"endpoint": "http://tempo", key: url.format(4999)}
    protocols = {"http": {"endpoint": "127.0.0.1:4999"}}
    config = {"receivers": {"otlp": {"protocols": protocols}}, "exporters": {"otlp_http": settings}}
    with pytest.raises(ConfigError, match=rf"exporters\.otlp_http\.{key}: .*:4999 is this hop's own receiver"):
        build_exporters(load(str(hop.write_config(tmp_path, config))).config)
