"""The rules of this repository that a program can check."""

import ast
import re
import tomllib
import typing
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from otel_eval import cli
from otel_eval.clickhouse import queries
from otel_eval.config import Config, exporter_class
from otel_eval.config.sampling import Policy, Sampling
from otel_eval.judging.scores import State
from otel_eval.records import Kind, OwnKind
from otel_eval.sampling.signals import SIGNALS
from otel_eval.scrub.rules import RULES
from otel_eval.telemetry import METRICS

PROJECT = Path(__file__).parent.parent
README = (PROJECT / "README.md").read_text()
SOURCES = sorted(file for folder in ("otel_eval", "tests") for file in (PROJECT / folder).rglob("*.py"))


def installed(group: str) -> list[metadata.EntryPoint]:
    return sorted(metadata.entry_points(group=group), key=lambda entry: entry.name)


ENTRY_POINTS = installed("otel_eval.exporters")
EVALUATORS = installed("otel_eval.evaluators")
SECTIONS = installed("otel_eval.sections")
RUBRICS = sorted(file.stem for file in (PROJECT / "otel_eval/evaluators/rubrics").glob("*.yaml"))
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 60


def commands(group: click.Group, prefix: str = "otel-eval") -> Iterator[str]:
    """Every command with the groups that it is in."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}"


def keys(section: type[msgspec.Struct]) -> Iterator[str]:
    """Every key of a section and of the sections in it, also of those in a list."""
    for field in msgspec.structs.fields(section):
        yield field.name
        yield from (key for inner in sections(field.type) for key in keys(inner))


def sections(wanted: Any) -> Iterator[type[msgspec.Struct]]:
    """The sections in a type."""
    if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
        yield wanted
    for part in getattr(wanted, "__args__", ()):
        yield from sections(part)


def test_there_is_something_to_check() -> None:
    assert len(SOURCES) > 50
    assert len(list(commands(cli.main))) >= 6
    assert {entry.name for entry in ENTRY_POINTS} >= {"otlp", "otlp_http", "debug"}
    assert {entry.name for entry in SECTIONS} == {"judging", "scrub"}
    assert len(EVALUATORS) >= 19
    assert len(RUBRICS) >= 13


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(PROJECT)))
def test_files_and_functions_are_short(file: Path) -> None:
    text = file.read_text()
    assert len(text.splitlines()) <= MAX_FILE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= MAX_FUNCTION_LINES, f"{node.name} has {lines} lines"


@pytest.mark.parametrize("entry", ENTRY_POINTS, ids=lambda entry: entry.name)
def test_every_exporter_can_be_loaded_and_is_in_the_readme(entry: metadata.EntryPoint) -> None:
    exporter: Any = entry.load()
    assert exporter is exporter_class(entry.name)
    assert issubclass(exporter.Config, msgspec.Struct)
    assert entry.name in README


@pytest.mark.parametrize("group", ["otel_eval.exporters", "otel_eval.evaluators", "otel_eval.sections"])
def test_the_installed_entry_points_are_those_of_the_project(group: str) -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert {entry.name: entry.value for entry in installed(group)} == project["entry-points"][group]


@pytest.mark.parametrize("entry", EVALUATORS, ids=lambda entry: entry.name)
def test_every_evaluator_can_be_loaded_and_is_in_the_readme(entry: metadata.EntryPoint) -> None:
    evaluator: Any = entry.load()
    assert issubclass(evaluator.Config, msgspec.Struct)
    assert f"`{entry.name}`" in README


@pytest.mark.parametrize("name", [*RUBRICS, *State, *RULES])
def test_every_rubric_terminal_state_and_scrub_rule_is_in_the_readme(name: str) -> None:
    assert f"`{name}`" in README


@pytest.mark.parametrize("command", list(commands(cli.main)))
def test_every_command_is_in_the_readme(command: str) -> None:
    assert re.search(f"`{command}[` ]", README)


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_is_in_the_readme(metric: str) -> None:
    items = next((kind.items for kind in (*Kind, *OwnKind) if metric.endswith(f"_{kind.items}")), None)
    shown = metric if items is None else f"{metric.removesuffix(items)}*"
    assert f"`{shown}`" in README
    assert items is None or items in README


@pytest.mark.parametrize("name", [*SIGNALS, *queries.names()])
def test_every_signal_and_query_is_in_the_readme(name: str) -> None:
    assert f"| `{name}` |" in README


CONDITIONS = typing.get_args(typing.get_type_hints(Policy)["type"])


@pytest.mark.parametrize("name", [*(key for key in Sampling.__struct_fields__ if key not in ("enabled", "seed")), *CONDITIONS])
def test_every_policy_is_in_the_readme(name: str) -> None:
    assert f"`{name}`" in README


SETTINGS = [Config, *(entry.load().Config for entry in (*ENTRY_POINTS, *EVALUATORS)), *(entry.load() for entry in SECTIONS)]


@pytest.mark.parametrize("key", sorted({key for section in SETTINGS for key in keys(section)}))
def test_every_key_is_in_the_readme(key: str) -> None:
    assert re.search(f"[`.]{key}[`:.[]", README)
