"""Every field: its default, a value for it, and the way back through `otel-eval config`."""

import copy
from typing import Any

import msgspec
import pytest
import yaml

from otel_eval.config import Config, effective, exporter_class, load
from otel_eval.config.values import Secret
from tests.config.conftest import Read

GRPC, HTTP = "receivers.otlp.protocols.grpc", "receivers.otlp.protocols.http"
EXPORTER = {
    "types": (["traces", "logs", "metrics"], ["logs"]),
    "max_message_bytes": (4194304, 1024),
    "timeout": ("10s", "90s"),
    "retry_on_failure.initial_interval": ("1s", "50ms"),
    "retry_on_failure.multiplier": (1.5, 2.0),
    "retry_on_failure.randomization_factor": (0.5, 0.0),
    "retry_on_failure.max_interval": ("30s", "1h"),
    "retry_on_failure.max_elapsed_time": ("0s", "5m"),
    "sending_queue.num_consumers": (4, 1),
    "sending_queue.batch.flush_timeout": ("200ms", "0s"),
    "sending_queue.batch.min_size_bytes": (1048576, 1),
}
OTLP = {
    "headers": ({}, {"X-Key": "a b"}),
    "compression": ("gzip", "none"),
    "tls.insecure": (False, True),
    "tls.insecure_skip_verify": (False, True),
    "tls.ca_file": (None, "/ca"),
    "tls.cert_file": (None, "/cert"),
    "tls.key_file": (None, "/key"),
    "tls.server_name_override": (None, "backend"),
}
PROTOCOL = {
    "tls.cert_file": ("/cert", "/cert2"),
    "tls.key_file": ("/key", "/key2"),
    "tls.client_ca_file": (None, "/ca"),
    "auth.token": (None, "t0ken"),
    "auth.filename": (None, "/tokens"),
}
HTTP_ENDPOINTS = {f"{kind}_endpoint": (None, f"http://{kind}:1") for kind in ("traces", "logs", "metrics")}
FIELDS: dict[str, tuple[Any, Any]] = {
    f"{GRPC}.endpoint": ("127.0.0.1:4317", "[::1]:0"),
    f"{GRPC}.max_recv_msg_size_mib": (64, 1024),
    f"{HTTP}.endpoint": ("127.0.0.1:4318", "0.0.0.0:80"),
    f"{HTTP}.max_request_body_size_mib": (64, 1),
    **{f"{protocol}.{key}": values for protocol in (GRPC, HTTP) for key, values in PROTOCOL.items()},
    "journal.directory": ("otel-eval-data/journal", "/var/lib/otel-eval"),
    "journal.max_size_mib": (10240, 1),
    "journal.sync": ("interval", "always"),
    **{f"exporters.{name}.{key}": values for name in ("debug", "otlp", "otlp_http") for key, values in EXPORTER.items()},
    **{f"exporters.{name}.{key}": values for name in ("otlp", "otlp_http") for key, values in OTLP.items()},
    "exporters.debug.verbosity": ("basic", "detailed"),
    "exporters.otlp.endpoint": (None, "backend:4317"),
    "exporters.otlp_http.endpoint": (None, "https://backend"),
    **{f"exporters.otlp_http.{key}": values for key, values in HTTP_ENDPOINTS.items()},
    "telemetry.metrics": ("127.0.0.1:8888", None),
    "telemetry.health": ("127.0.0.1:13133", "localhost:1"),
    "telemetry.logs.level": ("info", "debug"),
    "telemetry.logs.format": ("text", "json"),
    "service.drain_timeout": ("10s", "0s"),
}
SENDING = {
    "exporters": {
        "debug": {},
        "otlp": {"endpoint": "backend:4317"},
        "otlp_http": {"endpoint": "https://backend"},
    }
}


def leaves(struct: type[msgspec.Struct], prefix: str) -> set[str]:
    """The paths of all fields that are no sections."""
    found: set[str] = set()
    for field in msgspec.structs.fields(struct):
        inner = [part for part in (field.type, *getattr(field.type, "__args__", ())) if isinstance(part, type)]
        section = next((part for part in inner if issubclass(part, msgspec.Struct)), None)
        found |= leaves(section, f"{prefix}{field.name}.") if section else {prefix + field.name}
    return found


def shown(config: Config) -> dict[str, Any]:
    """What `otel-eval config` prints, read as YAML."""
    return dict(yaml.safe_load(yaml.safe_dump(effective(config))))


def at(value: Any, path: str) -> Any:
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def with_value(path: str, value: Any) -> dict[str, Any]:
    """A configuration in which the field has that value, and what has to stand beside it."""
    raw: dict[str, Any] = copy.deepcopy(SENDING)
    parent, _, last = path.rpartition(".")
    section = raw
    for key in parent.split("."):
        section = section.setdefault(key, {})
    pair = {"cert_file": "key_file", "key_file": "cert_file"}
    if last in pair:
        section[pair[last]] = "/other"
    if last == "client_ca_file":
        section |= {"cert_file": "/cert", "key_file": "/key"}
    section[last] = value
    return raw


def test_this_file_names_every_field() -> None:
    names = leaves(Config, "") - {"exporters"}
    for exporter in ("debug", "otlp", "otlp_http"):
        names |= leaves(exporter_class(exporter).Config, f"exporters.{exporter}.")
    assert names == set(FIELDS)


def test_the_defaults_are_as_they_are_documented(read: Read) -> None:
    config = shown(read(yaml.safe_dump(SENDING)))
    for path, (default, _) in FIELDS.items():
        if path in ("exporters.otlp.endpoint", "exporters.otlp_http.endpoint") or path.startswith((f"{GRPC}.tls", f"{HTTP}.tls")):
            continue  # these have none
        assert at(config, path) == default, path


@pytest.mark.parametrize("path", FIELDS)
def test_a_field_can_be_set_in_the_file_and_by_a_setting(read: Read, path: str) -> None:
    value = FIELDS[path][1]
    text = yaml.safe_dump(with_value(path, value))
    expected = {"X-Key": "****"} if path.endswith("headers") else "****" if path.endswith("token") else value
    assert at(shown(read(text)), path) == expected
    other = with_value(path, value if FIELDS[path][0] is None else FIELDS[path][0])
    setting = f"{path}={yaml.safe_dump(value, default_flow_style=True)}"
    assert at(shown(read(yaml.safe_dump(other), setting)), path) == expected


EMPTY = ["", "# nothing\n", "---\n", "{}", "null", "journal:\nreceivers:\ntelemetry:\nservice:\nexporters:\n"]


@pytest.mark.parametrize("text", EMPTY)
def test_an_empty_file_and_empty_sections_mean_the_defaults(read: Read, text: str) -> None:
    assert read(text) == load(None).config


def test_an_empty_protocol_is_on_with_its_defaults_and_one_that_is_not_named_is_off(read: Read) -> None:
    protocols = read("receivers: {otlp: {protocols: {grpc: }}}").receivers.otlp.protocols
    assert protocols.grpc is not None
    assert protocols.grpc.endpoint == "127.0.0.1:4317"
    assert protocols.http is None


def test_empty_sections_of_an_exporter_mean_the_defaults(read: Read) -> None:
    empty = "exporters: {otlp: {endpoint: 'a:1', headers: , tls: , retry_on_failure: , sending_queue: {batch: }}, debug: }"
    assert read(empty) == read("exporters: {otlp: {endpoint: 'a:1'}, debug: {}}")


def test_settings_lie_over_the_file_in_their_order(read: Read) -> None:
    config = read(
        "journal: {max_size_mib: 5, sync: never}",
        "journal.max_size_mib=6",
        "journal.max_size_mib=7",
        "exporters.otlp/new.endpoint=a:1",
        "exporters.otlp/new.headers.x-key=a=b",
        "receivers.otlp.protocols.grpc=",
        "service={drain_timeout: 1s}",
    )
    assert (config.journal.max_size_mib, config.journal.sync) == (7, "never")
    assert list(config.exporters) == ["otlp/new"]
    assert config.exporters["otlp/new"].headers == {"x-key": Secret("a=b")}
    assert config.receivers.otlp.protocols.http is None
    assert config.service.drain_timeout == 1.0


@pytest.mark.parametrize("name", ["otlp", "otlp_grpc", "otlp/a", "otlp/A.b_c-9", f"otlp/{'x' * 95}"])
def test_exporter_ids_are_a_type_and_a_name(read: Read, name: str) -> None:
    assert list(read(f"exporters: {{{name}: {{endpoint: 'a:1'}}}}").exporters) == [name]


def test_the_shown_configuration_is_one_that_says_the_same(read: Read) -> None:
    for path, values in FIELDS.items():
        config = read(yaml.safe_dump(with_value(path, values[1])))
        again = read(yaml.safe_dump(effective(config), sort_keys=False))
        assert shown(again) == shown(config)
        if "token" not in path and "headers" not in path:
            assert again == config, path
