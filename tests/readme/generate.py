"""The parts of README that are made from the code, each between two comments with its name."""

import ast
import inspect
import itertools
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import click
from msgspec.structs import fields

from otel_eval import cli
from otel_eval.clickhouse import queries
from otel_eval.evaluators.rubric import Instrument, load_all
from otel_eval.records import Kind, OwnKind
from otel_eval.sampling.signals import SIGNALS
from otel_eval.telemetry import METRICS
from tests.readme import configuration
from tests.readme.configuration import flat

README: Final = Path(__file__).parents[2] / "README.md"
COMMAND: Final = ".venv/bin/python -m tests.readme"

_PART: Final = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_SHARED_OPTIONS: Final = frozenset({"file", "settings"})


def generated(text: str) -> str:
    """README with every generated part made anew."""
    return _PART.sub(lambda found: f"{found[1]}{PARTS[found[2]]()}\n{found[3]}", text)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(head)
    return "\n".join(f"| {' | '.join(row)} |" for row in (names, ["---"] * len(names), *rows))


def _pairs(head: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    """A table with two of them in a row."""
    left, right = itertools.tee(rows)
    both = itertools.zip_longest(itertools.islice(left, 0, None, 2), itertools.islice(right, 1, None, 2), fillvalue=("", ""))
    return _table(head * 2, ((*one, *other) for one, other in both))


def _configuration() -> str:
    return _table(("section", "keys with their defaults"), map(_group, configuration.groups()))


def _group(rows: list[configuration.Row]) -> tuple[str, str]:
    """A section, and those in it by their path below it."""
    first = rows[0].place
    return f"`{first}`", "<br>".join(_section(row, row.place.removeprefix(first)) for row in rows)


def _section(row: configuration.Row, below: str) -> str:
    text = ": ".join(filter(None, (", ".join(row.keys), row.meaning)))
    return f"**`{below}`** {text}" if below else text


def commands(group: click.Group = cli.main, prefix: str = "otel-eval") -> Iterator[tuple[str, click.Command]]:
    """Every command, with the groups that it is in before its name."""
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


def _commands() -> str:
    """Those of a group in one row."""
    rows = itertools.groupby(commands(), key=lambda found: found[0].rpartition(" ")[0])
    return _table(("command", "what it does"), (row for group, found in rows for row in _in_rows(group, found)))


def _in_rows(group: str, found: Iterable[tuple[str, click.Command]]) -> Iterator[tuple[str, str]]:
    told = [(f"`{_usage(name, one)}`", flat(one.help)) for name, one in found]
    if group == "otel-eval":
        yield from told
    else:
        yield "<br>".join(usage for usage, _ in told), "<br>".join(text for _, text in told)


def _usage(name: str, command: click.Command) -> str:
    context = click.Context(command)
    options = (param for param in command.params if isinstance(param, click.Option) and param.name not in _SHARED_OPTIONS)
    arguments = (param.make_metavar(context) for param in command.params if isinstance(param, click.Argument))
    shown = [*arguments, *(one.opts[0] if one.required else f"[{one.opts[0]}]" for one in options)]
    return " ".join((name, *shown)).replace("|", "\\|")


def _evaluators() -> str:
    rows = []
    for entry in sorted(metadata.entry_points(group="otel_eval.evaluators"), key=lambda entry: entry.name):
        evaluator: Any = entry.load()
        settings = ", ".join(map(configuration.key, fields(evaluator.Config)))
        rows.append((f"`{entry.name}`", _first(evaluator.__doc__), _reasons(evaluator), settings))
    return _table(("evaluator", "score", "none, where", "settings"), rows)


def _first(text: str | None) -> str:
    """The first paragraph of a docstring; of one that a list goes on with, its whole sentences."""
    paragraph = flat((text or "").partition("\n\n")[0])
    return paragraph if paragraph.endswith(".") else paragraph.rpartition(". ")[0] + "."


def _reasons(evaluator: Any) -> str:
    """Why it has nothing to say of a trace, as far as its module says so in fixed words."""
    tree = ast.parse(inspect.getsource(sys.modules[evaluator.__module__]))
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    reasons = (call.args[0] for call in calls if isinstance(call.func, ast.Name) and call.func.id == "NotApplicable")
    words = (word.value for reason in reasons for word in _alternatives(reason) if isinstance(word, ast.Constant))
    return "; ".join(dict.fromkeys(map(str, words)))


def _alternatives(node: ast.expr) -> tuple[ast.expr, ...]:
    return (node.body, node.orelse) if isinstance(node, ast.IfExp) else (node,)


def _rubrics() -> str:
    return _table(("rubric", "about", "asks", "needs"), (_rubric(one) for _, one in sorted(load_all().items())))


def _rubric(found: Instrument) -> tuple[str, str, str, str]:
    first, *others = found.rubrics
    if others:
        return f"`{found.id}`", first.scope, f"{', '.join(one.id for one in found.rubrics)} in one call, and their mean", ""
    return f"`{first.id}`", first.scope, first.question, "; ".join(first.needs)


def _signals() -> str:
    texts = ((name, sys.modules[detect.__module__].__doc__ or "") for name, detect in SIGNALS.items())
    return _pairs(("signal", "fires when"), ((f"`{name}`", flat(text.partition("\n\n")[0])) for name, text in texts))


def _metrics() -> str:
    """By first word; the same metric of several kinds of item once."""
    shown: dict[str, str] = {}
    items = sorted((kind.items for kind in (*Kind, *OwnKind)), key=len, reverse=True)
    for name, metric in METRICS.items():
        item = next((item for item in items if name.endswith(f"_{item}")), None)
        stem = name if item is None else f"{name.removesuffix(item)}*"
        unit = f", {metric.unit}" if metric.unit.isalpha() else ""
        text = metric.description if item is None else metric.description.replace(item.replace("_", " "), "items")
        shown.setdefault(stem, f"`{stem}` ({metric.type}{unit}) {text}")
    families = itertools.groupby(shown, key=lambda name: name.partition("_")[0])
    return _table(("of", "metric"), ((family, "<br>".join(shown[name] for name in names)) for family, names in families))


def _queries() -> str:
    found = map(queries.load, queries.names())
    return _pairs(("query", "what it answers"), ((f"`{query.name}`", flat(query.summary)) for query in found))


PARTS: Final[dict[str, Callable[[], str]]] = {
    "commands": _commands,
    "configuration": _configuration,
    "evaluators": _evaluators,
    "metrics": _metrics,
    "queries": _queries,
    "rubrics": _rubrics,
    "signals": _signals,
}
