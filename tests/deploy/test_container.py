"""The image's recipe, the composition and their configuration agree with each other. No engine is needed, and none is asked."""

import json
import os
import re
import subprocess
import sys
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from otel_eval.config import Config, Loaded, load

PROJECT = Path(__file__).parent.parent.parent
DEPLOY = PROJECT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
PINNED = re.compile(r"[\w./-]+:\d+\.\d+(\.\d+)*[\w.-]*")


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile as (instruction, arguments), with continued lines joined."""
    text = re.sub(r"\\\n\s*", "", "\n".join(line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if line[:1] != "#"))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in text.splitlines() if line)]


def stages() -> dict[str, list[tuple[str, str]]]:
    """The instructions by the name of their stage; the first of each is FROM."""
    found: dict[str, list[tuple[str, str]]] = {}
    for word, rest in instructions():
        if word == "FROM":
            found[rest.split(" AS ")[1]] = []
        list(found.values())[-1].append((word, rest))
    return found


def arguments(stage: str, instruction: str) -> list[str]:
    return [rest for word, rest in stages()[stage] if word == instruction]


def pins() -> list[str]:
    lines = (DEPLOY / "requirements.txt").read_text().splitlines()
    return [line for line in lines if line and not line.lstrip().startswith("#")]


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Loaded:
    """The configuration of deploy/ with its two secrets."""
    monkeypatch.setenv("CLICKHOUSE_PASSWORD", "a-password")
    monkeypatch.setenv("OTEL_EVAL_API_TOKEN", "a-token")
    return load(str(DEPLOY / "otel-eval.yaml"))


def validated(without: str = "") -> subprocess.CompletedProcess[str]:
    """`otel-eval validate` of the configuration, with its secrets but one."""
    environment = {**os.environ, "CLICKHOUSE_PASSWORD": "a-password", "OTEL_EVAL_API_TOKEN": "a-token"}
    environment.pop(without, None)
    command = [sys.executable, "-m", "otel_eval", "validate", "--config", str(DEPLOY / "otel-eval.yaml")]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment)


def ports(config: Config) -> set[int]:
    """All ports that the hop of deploy/ listens on."""
    protocols = config.receivers.otlp.protocols
    assert protocols.grpc is not None
    assert protocols.http is not None
    telemetry = config.telemetry
    found = (protocols.grpc.endpoint, protocols.http.endpoint, config.api.endpoint, telemetry.metrics, telemetry.health)
    assert {address.host for address in found if address is not None} == {"0.0.0.0"}
    return {address.port for address in found if address is not None}


def test_the_configuration_is_valid_and_holds_no_secret(loaded: Loaded) -> None:
    assert set(loaded.config.exporters) == {"otlp", "clickhouse"}
    assert loaded.config.journal.directory == Path("/var/lib/otel-eval/journal")
    assert loaded.config.api.auth is not None
    done = validated()
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("missing", ["CLICKHOUSE_PASSWORD", "OTEL_EVAL_API_TOKEN"])
def test_without_its_secrets_it_says_which(missing: str) -> None:
    done = validated(without=missing)
    assert done.returncode != 0
    assert missing in done.stderr
    assert "Traceback" not in done.stderr


def test_the_image_is_slim_pinned_and_not_root(loaded: Loaded) -> None:
    assert list(stages())[-1] == "hop"
    for stage in ("build", "hop"):
        base = arguments(stage, "FROM")[0].split(" ")[0]
        assert PINNED.fullmatch(base)
        assert "-slim" in base
    assert arguments("build", "FROM")[0].split(" ")[0] == arguments("hop", "FROM")[0].split(" ")[0]
    assert arguments("hop", "USER") == arguments("demo", "USER") == ["10001:10001"]
    assert stages()["hop"].index(("USER", "10001:10001")) > max(
        index for index, (word, _) in enumerate(stages()["hop"]) if word in {"RUN", "COPY"}
    )
    assert {int(port) for port in arguments("hop", "EXPOSE")[0].split()} == ports(loaded.config)
    assert arguments("hop", "VOLUME") == [str(loaded.config.journal.directory.parent)]
    assert not [rest for word, rest in instructions() if word == "ADD"]
    for word, rest in instructions():
        if word in {"ENV", "ARG"}:
            assert not re.search(r"(?i)password|secret|token|api_key", rest)


def test_everything_that_is_installed_is_pinned() -> None:
    for stage in stages():
        for command in arguments(stage, "RUN"):
            if " install " in command and "pip" in command:
                assert re.search(r"-r deploy/requirements|--no-index|--constraint|==", command), command
    lines = [
        line for line in (DEPLOY / "requirements.txt").read_text().splitlines() if line and not line.lstrip().startswith("#")
    ]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+( ; .*)?", line) for line in lines)


def test_the_pins_are_those_of_the_project() -> None:
    """When this fails, run the command at the top of deploy/requirements.txt."""
    pinned: dict[str, list[str]] = {}
    for line in pins():
        requirement = Requirement(line)
        pinned.setdefault(canonicalize_name(requirement.name), []).append(str(requirement.specifier)[2:])
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    for text in project["dependencies"] + project["optional-dependencies"]["scrub"]:
        wanted = Requirement(text)
        versions = pinned.get(canonicalize_name(wanted.name), [])
        assert versions, f"{wanted.name} is not in deploy/requirements.txt"
        assert all(wanted.specifier.contains(version, prereleases=True) for version in versions), text


def test_the_build_gets_every_file_that_it_copies() -> None:
    allowed = [line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = {part for stage in ("build", "demo") for rest in arguments(stage, "COPY") for part in rest.split()[:-1]}
    assert copied == set(allowed)
    assert all((PROJECT / name).exists() for name in copied)


@pytest.mark.parametrize(("status", "expected"), [(200, 0), (503, 1), (None, 1)])
def test_the_healthcheck_needs_nothing_but_python(status: int | None, expected: int) -> None:
    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/livez"
            self.send_response(status or 500)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    _, _, command = arguments("hop", "HEALTHCHECK")[0].partition("CMD ")
    program, *options = json.loads(command)
    assert program == "python"
    server = HTTPServer(("127.0.0.1", 0), Health)
    code = options[1].replace(":13133", f":{server.server_address[1]}")
    assert code != options[1]
    if status is None:
        server.server_close()
    else:
        Thread(target=server.handle_request, daemon=True).start()
    done = subprocess.run([sys.executable, options[0], code], check=False, capture_output=True)
    server.server_close()
    assert done.returncode == expected


def test_the_services_of_the_composition() -> None:
    assert set(SERVICES) == {"otel-eval", "clickhouse", "grafana", "backend", "demo-agent"}
    for name, service in SERVICES.items():
        assert PINNED.fullmatch(service["image"]), name
        assert set(service.get("depends_on", {})) <= set(SERVICES)
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name} publishes {port} to everybody"
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or source.startswith("./")
        for wanted in service.get("configs", []):
            assert wanted["source"] in COMPOSE["configs"]
    assert {service["build"]["target"] for service in SERVICES.values() if "build" in service} == {"hop", "demo"}
    assert SERVICES["demo-agent"]["profiles"] == ["demo"]


def test_the_hop_of_the_composition_is_confined_and_reaches_its_neighbours(loaded: Loaded) -> None:
    hop = SERVICES["otel-eval"]
    assert hop["read_only"] is True
    assert hop["cap_drop"] == ["ALL"]
    assert hop["user"] == "10001:10001"
    assert {int(port.rsplit(":", 1)[1]) for port in hop["ports"]} == ports(loaded.config)
    config = loaded.config
    assert {volume.split(":")[1] for volume in hop["volumes"]} == {
        "/etc/otel-eval/otel-eval.yaml",
        str(config.journal.directory.parent),
    }
    assert config.exporters["otlp"].endpoint == "backend:4317"
    assert "@clickhouse:8123/otel" in (DEPLOY / "otel-eval.yaml").read_text()
    assert config.service.drain_timeout < int(hop["stop_grace_period"].rstrip("s"))
    needed = set(re.findall(r"\$\{env:(\w+)\}", re.sub(r"#.*", "", (DEPLOY / "otel-eval.yaml").read_text())))
    assert needed <= set(hop["environment"])
    clickhouse = SERVICES["clickhouse"]["environment"]
    assert (clickhouse["CLICKHOUSE_USER"], clickhouse["CLICKHOUSE_DB"]) == ("otel_eval", "otel")
    assert clickhouse["CLICKHOUSE_PASSWORD"] == hop["environment"]["CLICKHOUSE_PASSWORD"]


def test_no_secret_stands_in_a_file() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|TOKEN|KEY", name):
                assert re.fullmatch(r"\$\{\w+(:\?[^}]+|:-)\}", value), name
    made = set(re.findall(r"for name in ([A-Z_ ]+);", (DEPLOY / "compose.yaml").read_text())[0].split())
    assert made == set(re.findall(r"\$\{(\w+):\?", (DEPLOY / "compose.yaml").read_text()))
