"""The Collector configurations name only what the Collector's components document, and what they name is there.

Where a Collector is installed (`otelcol-contrib` on the PATH, or named by OTELCOL), it validates them too.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from otel_eval.config import load
from otel_eval.wire.check import OWN_SCOPE
from tests.deploy.collector import ABSENT, COLLECTOR, FOLDER

FILES = sorted(file for file in FOLDER.glob("*.yaml") if file.name != "kustomization.yaml")
SCHEMA = yaml.safe_load((Path(__file__).parent / "collector_schema.yaml").read_text())
each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
SECTIONS = ("receivers", "processors", "exporters")
MIB = 1 << 20


def filled_in(value: Any) -> Any:
    """The configuration with the defaults of its variables."""
    text = json.dumps(value)
    return json.loads(re.sub(r"\$\{env:\w+:-([^}]*)\}", r"\1", text))


def configuration(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = filled_in(yaml.safe_load(file.read_text()))
    return found


def to_the_hop(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The exporters whose receiver is a hop."""
    for name, exporter in config["exporters"].items():
        if name.startswith("load_balancing"):
            yield exporter["protocol"]["otlp"]
        elif "otel-eval" in exporter.get("endpoint", "") or name == "otlp_grpc":
            yield exporter


def test_all_five_are_there() -> None:
    assert [file.stem for file in FILES] == ["agent", "behind", "gateway", "kafka", "tee"]
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@each_file
def test_components_and_keys_are_documented_ones(file: Path) -> None:
    found = jsonschema.Draft202012Validator(SCHEMA).iter_errors(configuration(file))
    assert [f"{error.json_path}: {error.message}" for error in found] == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("exporters", "otlp_grpc", "sending_que"), {}),
        (("exporters", "otlp_grpc", "sending_queue", "queue_sise"), 1),
        (("exporters", "otlp_grpc", "compression"), "zip"),
        (("exporters", "otlp_grpc", "timeout"), 10),
        (("exporters", "otlp_grcp"), {}),
        (("receivers", "otlp", "protocols", "grpc", "max_recv_msg_size"), 64),
        (("service", "pipelines", "spans"), {"receivers": ["otlp"], "exporters": ["otlp_grpc"]}),
        (("extensions", "file_storage", "fsync"), "yes"),
    ],
)
def test_the_schema_sees_a_mistake(path: tuple[str, ...], value: Any) -> None:
    config = configuration(FOLDER / "agent.yaml")
    section = config
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    assert list(jsonschema.Draft202012Validator(SCHEMA).iter_errors(config))


@each_file
def test_pipelines_use_what_is_defined_and_all_of_it(file: Path) -> None:
    config = configuration(file)
    for section in SECTIONS:
        used = {name for pipeline in config["service"]["pipelines"].values() for name in pipeline[section]}
        assert used == set(config[section]), section
    assert set(config["service"]["extensions"]) == set(config["extensions"])
    storages = set(re.findall(r'"storage": "([^"]+)"', json.dumps(config)))
    assert storages <= set(config["extensions"])
    assert all(pipeline["processors"][0] == "memory_limiter" for pipeline in config["service"]["pipelines"].values())


@each_file
def test_nothing_that_the_hop_cannot_read_and_no_small_limits(file: Path) -> None:
    config = configuration(file)
    hops = list(to_the_hop(config))
    assert hops or file.stem == "behind"
    assert all(exporter["compression"] in {"gzip", "none"} for exporter in hops)
    for receiver in (receiver for name, receiver in config["receivers"].items() if name.startswith("otlp")):
        assert receiver["protocols"]["grpc"]["max_recv_msg_size_mib"] == 64
        assert receiver["protocols"].get("http", {}).get("max_request_body_size", 64 * MIB) == 64 * MIB


@each_file
def test_nothing_that_was_acknowledged_is_given_up_or_kept_in_memory(file: Path) -> None:
    config = configuration(file)
    for name, exporter in config["exporters"].items():
        queue = exporter["sending_queue"]
        assert queue.get("enabled") is False or queue["storage"] == "file_storage", name
        retry = exporter["retry_on_failure"]
        assert retry.get("enabled") is False or retry["max_elapsed_time"] == ("1h" if name == "otlp_grpc/otel_eval" else "0s"), (
            name
        )
    storage = config["extensions"].get("file_storage", {"fsync": True, "create_directory": True})
    assert storage["fsync"] is True
    assert storage["create_directory"] is True


def test_the_ports_beside_a_hop_are_not_the_hops(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("exporters: {debug: }")
    hop = load(str(file)).config
    taken = {hop.telemetry.metrics, hop.telemetry.health, hop.api.endpoint}
    hop_ports = {address.port for address in taken if address is not None}
    for name in ("tee", "behind", "kafka"):
        config = configuration(FOLDER / f"{name}.yaml")
        used = {int(port) for port in re.findall(r'"endpoint": "[^"]*:(\d+)"', json.dumps(config["extensions"]))}
        used.add(config["service"]["telemetry"]["metrics"]["readers"][0]["pull"]["exporter"]["prometheus"]["port"])
        assert used.isdisjoint(hop_ports), name


def test_the_tee_lets_through_what_the_hop_writes() -> None:
    conditions = configuration(FOLDER / "tee.yaml")["processors"]["filter/scores"]
    wanted = [f'scope.name != "{OWN_SCOPE.decode()}"']
    assert conditions["trace_conditions"] == conditions["log_conditions"] == wanted


def known_to(collector: str, config: dict[str, Any]) -> dict[str, Any]:
    """Without the pipelines that need a component which this Collector was built without."""
    listed = yaml.safe_load(subprocess.run([collector, "components"], check=True, capture_output=True, text=True).stdout)
    types = {section: {component["name"] for component in listed[section]} for section in SECTIONS}
    pipelines = {
        name: pipeline
        for name, pipeline in config["service"]["pipelines"].items()
        if all(part.partition("/")[0] in types[section] for section in SECTIONS for part in pipeline[section])
    }
    used = {section: {part for pipeline in pipelines.values() for part in pipeline[section]} for section in SECTIONS}
    return {
        **config,
        **{section: {name: value for name, value in config[section].items() if name in used[section]} for section in SECTIONS},
        "service": {**config["service"], "pipelines": pipelines},
    }


@pytest.mark.skipif(COLLECTOR is None, reason=ABSENT)
@each_file
def test_a_real_collector_takes_it(file: Path, tmp_path: Path) -> None:
    assert COLLECTOR is not None
    env = {**os.environ, "COLLECTOR_DATA": str(tmp_path)}
    target = file
    if file.stem == "kafka":
        target = tmp_path / "kafka.yaml"
        target.write_text(yaml.safe_dump(known_to(COLLECTOR, configuration(file)), sort_keys=False))
    done = subprocess.run([COLLECTOR, "validate", "--config", str(target)], check=False, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
