"""The Kubernetes manifests agree with each other, with the hop's configuration and with the Collector's.

The base is read as it stands; the overlays are built with kubectl or kustomize, where one is installed.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parent.parent.parent
TREE = PROJECT / "deploy/kubernetes"
HOP = yaml.safe_load((PROJECT / "deploy/otel-eval.yaml").read_text())
OVERLAYS = ("single", "scaled")
TOOLS = {"kustomize": ["build"], "kubectl": ["kustomize"]}
KUSTOMIZE = next(([name, *words] for name, words in TOOLS.items() if shutil.which(name)), None)
Manifest = dict[str, Any]


def read(folder: Path) -> list[Manifest]:
    """All that a kustomization names, with what it names in turn; nothing is transformed."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    found: list[Manifest] = []
    for name in kustomization.get("resources", []) + kustomization.get("components", []):
        path = folder / name
        found += read(path) if path.is_dir() else [one for one in yaml.safe_load_all(path.read_text()) if one]
    for generated in kustomization.get("configMapGenerator", []):
        data = {file: (folder / file).read_text() for file in generated["files"]}
        found.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generated["name"]}, "data": data})
    return found


TREES = {name: read(TREE / "overlays" / name) for name in OVERLAYS}
each_tree = pytest.mark.parametrize("manifests", TREES.values(), ids=OVERLAYS)


def of(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = [manifest for manifest in of(manifests, kind) if manifest["metadata"]["name"] == name]
    return found


def pods(manifests: list[Manifest]) -> Iterator[tuple[dict[str, str], Manifest]]:
    """The labels and the spec of the pods of each StatefulSet."""
    for one in of(manifests, "StatefulSet"):
        yield one["spec"]["template"]["metadata"]["labels"], one["spec"]["template"]["spec"]


def container_ports(spec: Manifest) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for container in spec["containers"] for port in container["ports"]}


def selected(manifests: list[Manifest], labels: dict[str, str]) -> list[Manifest]:
    return [spec for own, spec in pods(manifests) if labels.items() <= own.items()]


@each_tree
def test_manifests_have_names_of_their_own(manifests: list[Manifest]) -> None:
    names = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests]
    assert len(names) == len(set(names))
    assert {kind for kind, _ in names} >= {"StatefulSet", "Service", "PodDisruptionBudget", "NetworkPolicy", "ConfigMap"}
    for folder in (TREE / "base", TREE / "overlays/scaled", TREE / "components/prometheus-operator"):
        kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
        files = {file.name for file in folder.glob("*.yaml")} - {"kustomization.yaml", "otel-eval.yaml"}
        assert files == {name for name in kustomization["resources"] if name.endswith(".yaml")}


@each_tree
def test_selectors_find_exactly_one_set_of_pods(manifests: list[Manifest]) -> None:
    for one in of(manifests, "StatefulSet"):
        assert one["spec"]["selector"]["matchLabels"] == one["spec"]["template"]["metadata"]["labels"]
        service = named(manifests, "Service", one["spec"]["serviceName"])
        assert service["spec"]["selector"] == one["spec"]["selector"]["matchLabels"]
    for service in of(manifests, "Service"):
        (spec,) = selected(manifests, service["spec"]["selector"])
        known = container_ports(spec)
        for port in service["spec"]["ports"]:
            assert known[port["targetPort"]] == port["port"]
    for kind, key in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
        covered = [selected(manifests, one["spec"][key]["matchLabels"]) for one in of(manifests, kind)]
        assert [len(found) for found in covered] == [1] * len(of(manifests, "StatefulSet")), kind


@each_tree
def test_pods_are_confined_and_pinned(manifests: list[Manifest]) -> None:
    for _, spec in pods(manifests):
        context = spec["securityContext"]
        assert context["runAsNonRoot"] is True
        assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (10001, 10001, 10001)
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert named(manifests, "ServiceAccount", spec["serviceAccountName"])
        for container in spec["containers"]:
            assert re.fullmatch(r"[\w./-]+:\d+\.\d+\.\d+", container["image"])
            own = container["securityContext"]
            assert own["readOnlyRootFilesystem"] is True
            assert own["allowPrivilegeEscalation"] is False
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert set(container["resources"]["requests"]) == {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]


@each_tree
def test_volumes_and_probes_name_what_is_there(manifests: list[Manifest]) -> None:
    for one in of(manifests, "StatefulSet"):
        spec = one["spec"]["template"]["spec"]
        claims = {claim["metadata"]["name"] for claim in one["spec"]["volumeClaimTemplates"]}
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        for container in spec["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} == claims | set(volumes)
            for probe in ("livenessProbe", "readinessProbe"):
                assert container[probe]["httpGet"]["port"] in container_ports(spec)
        for volume in volumes.values():
            if "configMap" in volume:
                assert named(manifests, "ConfigMap", volume["configMap"]["name"])


@each_tree
def test_the_hops_are_as_their_configuration_says(manifests: list[Manifest]) -> None:
    one = named(manifests, "StatefulSet", "otel-eval")
    spec = one["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    (config,) = named(manifests, "ConfigMap", "otel-eval")["data"].items()
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert {"name": "OTEL_EVAL_CONFIG", "value": f"{mounts['config']}/{config[0]}"} in container["env"]
    assert config[1] == (PROJECT / "deploy/otel-eval.yaml").read_text()
    assert HOP["journal"]["directory"].startswith(f"{mounts['data']}/")
    protocols = HOP["receivers"]["otlp"]["protocols"]
    pages = {
        "otlp-grpc": protocols["grpc"]["endpoint"],
        "otlp-http": protocols["http"]["endpoint"],
        "api": HOP["api"]["endpoint"],
    }
    pages |= {"metrics": HOP["telemetry"]["metrics"], "health": HOP["telemetry"]["health"]}
    assert container_ports(spec) == {name: int(address.rsplit(":", 1)[1]) for name, address in pages.items()}
    assert {container[probe]["httpGet"]["path"] for probe in ("livenessProbe", "startupProbe")} == {"/livez"}
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    (claim,) = one["spec"]["volumeClaimTemplates"]
    room = int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi")) * 1024
    assert HOP["journal"]["max_size_mib"] + HOP["judging"]["queue"]["max_size_mib"] + 256 < room
    assert int(HOP["service"]["drain_timeout"].rstrip("s")) < spec["terminationGracePeriodSeconds"]


@each_tree
def test_the_network_policy_lets_in_what_the_services_offer(manifests: list[Manifest]) -> None:
    policy = named(manifests, "NetworkPolicy", "otel-eval")["spec"]
    let_in = {port["port"] for rule in policy["ingress"] for port in rule["ports"]}
    (spec,) = selected(manifests, {"app.kubernetes.io/name": "otel-eval"})
    assert let_in == set(container_ports(spec).values()) - {container_ports(spec)["health"]}
    let_out = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
    ports = re.findall(r":-[^}]*?:(\d+)", (PROJECT / "deploy/otel-eval.yaml").read_text())
    assert let_out >= {53, 443, *map(int, ports)}
    for gateway in of(manifests, "NetworkPolicy"):
        assert {port["port"] for port in gateway["spec"]["ingress"][0]["ports"]} >= {4317, 4318}


def test_the_gateway_knows_every_hop() -> None:
    manifests = TREES["scaled"]
    overlay = yaml.safe_load((TREE / "overlays/scaled/kustomization.yaml").read_text())
    (replicas,) = overlay["replicas"]
    headless = named(manifests, "Service", named(manifests, "StatefulSet", replicas["name"])["spec"]["serviceName"])
    assert headless["spec"]["clusterIP"] == "None"
    assert headless["spec"]["publishNotReadyAddresses"] is True
    (text,) = named(manifests, "ConfigMap", "otel-eval-gateway")["data"].values()
    hosts = re.findall(r"\$\{env:HOP_\d:-([^}]+)\}", text)
    assert hosts == [f"otel-eval-{number}.{headless['metadata']['name']}:4317" for number in range(replicas["count"])]
    (spec,) = selected(manifests, {"app.kubernetes.io/name": "otel-eval-gateway"})
    (container,) = spec["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert container["args"] == [f"--config={mounts['config']}/gateway.yaml"]
    assert f"COLLECTOR_DATA:-{mounts['data']}}}/queue" in text
    assert container["image"].split(":")[1] in text


def test_the_service_monitor_finds_the_hops_once() -> None:
    manifests = TREES["scaled"]
    (monitor,) = of(manifests, "ServiceMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"]
    (service,) = [one for one in of(manifests, "Service") if wanted.items() <= one["metadata"]["labels"].items()]
    assert [endpoint["port"] for endpoint in monitor["spec"]["endpoints"]] == ["metrics"]
    assert "metrics" in {port["name"] for port in service["spec"]["ports"]}


@pytest.mark.skipif(KUSTOMIZE is None, reason="neither kustomize nor kubectl is installed")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kustomize_builds_the_same(overlay: str) -> None:
    assert KUSTOMIZE is not None
    done = subprocess.run([*KUSTOMIZE, str(TREE / "overlays" / overlay)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    built = [one for one in yaml.safe_load_all(done.stdout) if one]
    assert sorted(one["kind"] for one in built) == sorted(one["kind"] for one in TREES[overlay])
    assert {one["metadata"].get("namespace") for one in built} == {"otel-eval"}
    hop = named(built, "StatefulSet", "otel-eval")["spec"]
    assert hop["replicas"] == {"single": 1, "scaled": 3}[overlay]
    (config,) = [volume["configMap"]["name"] for volume in hop["template"]["spec"]["volumes"] if "configMap" in volume]
    assert re.fullmatch(r"otel-eval-[a-z0-9]{10}", config)
    assert named(built, "ConfigMap", config)
