"""The alert rules name metrics, labels and values that a hop really shows."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from otel_eval.judging.scores import State
from otel_eval.receivers.answer import OUTCOMES
from otel_eval.telemetry import METRICS, Metrics

PROJECT = Path(__file__).parent.parent.parent
FILE = PROJECT / "deploy/prometheus/alerts.yaml"
RULES: list[dict[str, Any]] = [rule for group in yaml.safe_load(FILE.read_text())["groups"] for rule in group["rules"]]
SOURCES = "\n".join(file.read_text() for file in (PROJECT / "otel_eval").rglob("*.py"))
OF_PROMETHEUS = {"job", "instance"}
VALUES: dict[tuple[str, str], set[Any]] = {
    ("otel_eval_receiver_requests_total", "outcome"): set(OUTCOMES.values()),
    ("otel_eval_exporter_requests_total", "outcome"): {"success", "refused", "retry"},
    ("otel_eval_judging_queue", "state"): {"waiting", "claimed", "dead"},
    ("otel_eval_judging_results_total", "state"): set(State),
}
each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])


def shown() -> dict[str, str]:
    """The name of each metric as Prometheus sees it, with our own name."""
    metrics = Metrics()
    for name, metric in METRICS.items():
        if metric.type == "counter":
            metrics.counter(name, metric=name).add()
        elif metric.type == "gauge":
            metrics.gauge(name, lambda: 1.0, metric=name)
        else:
            metrics.record(name, 1.0, metric=name)
    families = text_string_to_metric_families(metrics.prometheus().decode())
    found = {
        sample.name: sample.labels["metric"] for family in families for sample in family.samples if "metric" in sample.labels
    }
    metrics.close()
    return found


SHOWN = shown()


def labels_of(metric: str) -> set[str]:
    """The labels with which the sources use a metric, and what the exporters' shared ones are."""
    name = SHOWN[metric]
    used = {label for call in re.findall(rf'"{name}"([^\n]*)', SOURCES) for label in re.findall(r"\b(\w+)=", call)}
    shared = {"exporter", "kind"} if name.startswith("exporter_") and name != "exporter_queue_capacity" else set()
    return used | shared


def test_there_are_rules_for_what_can_go_wrong() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES) >= 12
    assert set(SHOWN.values()) == set(METRICS)


@each_rule
def test_its_metrics_exist(rule: dict[str, Any]) -> None:
    named = set(re.findall(r"\b(?:otel_eval_\w+|up)\b", rule["expr"]))
    assert named
    assert named - {"up"} <= set(SHOWN)


@each_rule
def test_its_labels_and_their_values_exist(rule: dict[str, Any]) -> None:
    named = set(re.findall(r"\b(otel_eval_\w+)\b", rule["expr"]))
    known = OF_PROMETHEUS.union(*map(labels_of, named))
    for clause in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", rule["expr"]):
        assert {label.strip() for label in clause.split(",")} <= known
    for metric, selector in re.findall(r"\b(otel_eval_\w+)\{([^}]*)\}", rule["expr"]):
        for label, value in re.findall(r'(\w+)!?="([^"]*)"', selector):
            assert label in labels_of(metric)
            assert value in VALUES[metric, label]


@each_rule
def test_it_tells_what_is_wrong_and_names_only_its_labels(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"warning", "critical"}
    text = " ".join(rule["annotations"].values())
    grouped = {label.strip() for clause in re.findall(r"\bby\s*\(([^)]*)\)", rule["expr"]) for label in clause.split(",")}
    assert set(re.findall(r"\$labels\.(\w+)", text)) <= (grouped or OF_PROMETHEUS)
    assert rule["annotations"]["summary"]


def test_counters_are_read_as_rates() -> None:
    for rule in RULES:
        for counter in re.findall(r"\b(otel_eval_\w+_total)\b", rule["expr"]):
            assert re.search(rf"(rate|increase)\({counter}[^)]*\[", rule["expr"]), counter


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_takes_them() -> None:
    done = subprocess.run(["promtool", "check", "rules", str(FILE)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
