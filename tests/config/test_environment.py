"""The OTEL_EXPORTER_OTLP_* variables, general and for each kind, as the OpenTelemetry specification has them."""

import sys
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from otel_eval.config import Loaded, load
from otel_eval.config.values import Secret
from otel_eval.errors import ConfigError
from otel_eval.records import Kind

PREFIX = "OTEL_EXPORTER_OTLP_"
BACKEND = "http://backend:4317"


@pytest.fixture(autouse=True)
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded ClickHouse is not installed."""
    monkeypatch.setitem(sys.modules, "chdb", None)


def loaded(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Loaded:
    """The defaults in an environment with these variables, whose prefix is left out."""
    for name, value in variables.items():
        monkeypatch.setenv(PREFIX + name, value)
    return load(None)


def exporters(monkeypatch: pytest.MonkeyPatch, **variables: str) -> dict[str, Any]:
    return loaded(monkeypatch, **variables).config.exporters


def test_without_an_endpoint_the_debug_exporter_counts_what_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    found = loaded(monkeypatch, HEADERS="a=b", PROTOCOL="grpc", ENDPOINT="")
    assert list(found.config.exporters) == ["debug"]
    assert "OTEL_EXPORTER_OTLP_ENDPOINT is not set" in found.notes[0]


def test_what_is_installed_of_clickhouse_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "chdb")
    found = loaded(monkeypatch)
    assert list(found.config.exporters) == ["clickhouse"]
    assert found.notes == [
        "no exporter is configured and OTEL_EXPORTER_OTLP_ENDPOINT is not set: what arrives goes only to the embedded ClickHouse"
    ]
    found = loaded(monkeypatch, ENDPOINT=BACKEND)
    assert list(found.config.exporters) == ["clickhouse", "otlp"]


def test_an_endpoint_gives_one_exporter_for_all_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    found = loaded(monkeypatch, ENDPOINT=BACKEND)
    (exporter,) = found.config.exporters.values()
    assert (list(found.config.exporters), exporter.endpoint, exporter.types) == (["otlp"], BACKEND, tuple(Kind))
    assert (exporter.compression, exporter.timeout, exporter.headers) == ("none", 10, {})
    assert found.notes == ["exporters are taken from OTEL_EXPORTER_OTLP_*: otlp"]


def test_a_file_with_exporters_ignores_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}ENDPOINT", BACKEND)
    monkeypatch.setenv(f"{PREFIX}PROTOCOL", "nonsense")
    found = load(None, ["exporters.debug.verbosity=detailed"])
    assert list(found.config.exporters) == ["debug"]
    assert found.notes == []


@pytest.mark.parametrize(
    ("endpoint", "protocol", "exporter_type"),
    [
        ("http://backend:4317", "", "otlp"),
        ("https://backend:4317/", "", "otlp"),
        ("backend:4317", "", "otlp"),
        ("backend:9999", "", "otlp"),
        ("http://backend:4318", "", "otlp_http"),
        ("https://api.vendor.example", "", "otlp_http"),
        ("https://cloud.vendor.example/api/public/otel", "", "otlp_http"),
        ("http://[::1]:4317", "", "otlp"),
        ("http://backend:4318", "grpc", "otlp"),
        ("http://backend:4317", "http/protobuf", "otlp_http"),
        ("http://backend:4317", "HTTP/Protobuf", "otlp_http"),
    ],
)
def test_the_protocol_is_the_one_named_else_what_the_endpoint_can_mean(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, protocol: str, exporter_type: str
) -> None:
    assert list(exporters(monkeypatch, ENDPOINT=endpoint, PROTOCOL=protocol)) == [exporter_type]


def test_a_general_http_endpoint_gets_paths_and_one_for_a_kind_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    found = exporters(
        monkeypatch,
        ENDPOINT="http://backend:4318/base/",
        TRACES_ENDPOINT="http://traces:4318",
        LOGS_ENDPOINT="http://logs:4318/in?x=1",
    )
    urls = {kind: exporter.url(kind) for exporter in found.values() for kind in exporter.types}
    assert urls == {
        Kind.TRACES: "http://traces:4318",
        Kind.LOGS: "http://logs:4318/in?x=1",
        Kind.METRICS: "http://backend:4318/base/v1/metrics",
    }
    assert set(found) == {"otlp_http/traces", "otlp_http/logs", "otlp_http/metrics"}


def test_an_endpoint_for_one_kind_alone_sends_only_that(monkeypatch: pytest.MonkeyPatch) -> None:
    found = exporters(monkeypatch, LOGS_ENDPOINT=BACKEND)
    assert {name: exporter.types for name, exporter in found.items()} == {"otlp": (Kind.LOGS,)}


@pytest.mark.parametrize(
    ("variable", "general", "own", "path", "expected"),
    [
        ("ENDPOINT", BACKEND, "http://other:4317", "endpoint", (BACKEND, "http://other:4317")),
        ("HEADERS", "a=1", "a=2", "headers", ({"a": Secret("1")}, {"a": Secret("2")})),
        ("COMPRESSION", "none", "gzip", "compression", ("none", "gzip")),
        ("TIMEOUT", "5000", "250", "timeout", (5.0, 0.25)),
        ("CERTIFICATE", "/ca", "/other", "tls.ca_file", (Path("/ca"), Path("/other"))),
        ("INSECURE", "false", "True", "tls.insecure", (False, True)),
    ],
)
def test_a_variable_for_a_kind_goes_before_the_general_one(
    monkeypatch: pytest.MonkeyPatch, variable: str, general: str, own: str, path: str, expected: tuple[object, object]
) -> None:
    values = {"ENDPOINT": BACKEND, variable: general, f"METRICS_{variable}": own, f"LOGS_{variable}": ""}
    found = exporters(monkeypatch, **values)
    assert {exporter.types: attrgetter(path)(exporter) for exporter in found.values()} == {
        (Kind.TRACES, Kind.LOGS): expected[0],
        (Kind.METRICS,): expected[1],
    }


def test_client_certificates_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    (exporter,) = exporters(monkeypatch, ENDPOINT=BACKEND, CLIENT_KEY="/key", CLIENT_CERTIFICATE="/cert").values()
    assert (str(exporter.tls.key_file), str(exporter.tls.cert_file)) == ("/key", "/cert")


@pytest.mark.parametrize(
    ("text", "headers"),
    [
        ("api-key=abc", {"api-key": "abc"}),
        ("Api-Key=abc , x=1", {"api-key": "abc", "x": "1"}),
        ("authorization=Bearer%20a%3Db%2Cc", {"authorization": "Bearer a=b,c"}),
        ("authorization=Basic YTpi==", {"authorization": "Basic YTpi=="}),
        ("a=,,b=2,", {"a": "", "b": "2"}),
    ],
)
def test_headers_are_pairs_with_percent_encoding(monkeypatch: pytest.MonkeyPatch, text: str, headers: dict[str, str]) -> None:
    (exporter,) = exporters(monkeypatch, ENDPOINT=BACKEND, HEADERS=text).values()
    assert {key: secret.reveal() for key, secret in exporter.headers.items()} == headers


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"PROTOCOL": "http/json"}, "OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' is not supported (allowed: grpc, http/protobuf)"),
        ({"LOGS_PROTOCOL": "gprc"}, "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL: 'gprc' is not supported"),
        ({"TIMEOUT": "10s"}, "OTEL_EXPORTER_OTLP_TIMEOUT: '10s': expected a number of milliseconds"),
        ({"TRACES_TIMEOUT": "-1"}, "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: '-1': expected"),
        ({"TIMEOUT": "0"}, "OTEL_EXPORTER_OTLP_*: exporters.otlp.timeout: '0ms': expected a duration above 0"),
        ({"COMPRESSION": "zstd"}, "OTEL_EXPORTER_OTLP_*: exporters.otlp.compression: 'zstd'"),
        ({"CLIENT_KEY": "/key"}, "OTEL_EXPORTER_OTLP_*: exporters.otlp.tls: expected cert_file and key_file together"),
        ({"HEADERS": "s3cret"}, "OTEL_EXPORTER_OTLP_HEADERS: expected key=value pairs"),
        ({"METRICS_HEADERS": "a=b,=s3cret"}, "OTEL_EXPORTER_OTLP_METRICS_HEADERS: expected key=value pairs"),
        ({"HEADERS": "a=s3cret%0A"}, "OTEL_EXPORTER_OTLP_*: exporters.otlp.headers.a: expected printable ASCII"),
        ({"HEADERS": "a s3cret=b"}, "OTEL_EXPORTER_OTLP_*: exporters.otlp.headers: Expected `str` matching regex"),
    ],
)
def test_a_mistake_names_the_variable_and_no_secret(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], says: str
) -> None:
    with pytest.raises(ConfigError) as error:
        loaded(monkeypatch, ENDPOINT=BACKEND, **variables)
    assert says in str(error.value)
    assert "s3cret" not in str(error.value)
