"""What the schema is made for, and the text of its statements."""

import re
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from otel_eval.clickhouse.schema import otlp

COLLECTORS: Final = ("otel_traces", "otel_traces_trace_id_ts", "otel_logs")
"""Tables that are the Collector's: of these only the deduplication window is ever changed."""

WINDOW: Final = 10000
"""Blocks whose deduplication tokens a table remembers."""

_PLACEHOLDER: Final = re.compile(r"\{(\w+)(?::([^{}]+))?\}")
_CREATED: Final = re.compile(r"^CREATE (?:TABLE|VIEW|MATERIALIZED VIEW) IF NOT EXISTS `(?:[^`\\]|\\.)+`\.(\w+)", re.MULTILINE)


class Target(msgspec.Struct, frozen=True):
    """Where the tables are to be, and for how long rows stay: days, 0 for ever.

    With a `cluster` a table x is `x_local` on every node and x a Distributed table over it. Statements then say
    ON CLUSTER, which needs Keeper, unless `on_cluster` is off: they must then be applied on each node. `replicated`
    takes the Replicated engines, with the server's default path and replica name.
    """

    database: str = "otel"
    cluster: str | None = None
    on_cluster: bool = True
    replicated: bool = False
    traces_ttl_days: int = 0
    evaluations_ttl_days: int = 0
    ledger_ttl_days: int = 0

    def name(self, relation: str) -> str:
        """A table or view by the name that is inserted into and read from, as it is written in SQL."""
        return f"{identifier(self.database)}.{relation}"

    def stored(self, relation: str) -> str:
        """The table of one node that stores its rows, as it is written in SQL."""
        return self.name(self.local(relation))

    def local(self, relation: str) -> str:
        """The same without the database."""
        return relation if self.cluster is None else f"{relation}_local"

    @property
    def clause(self) -> str:
        """ON CLUSTER with a space before it, or nothing."""
        return f" ON CLUSTER {identifier(self.cluster)}" if self.cluster is not None and self.on_cluster else ""


class Migration(NamedTuple):
    """A step of the schema, one file. Released ones never change: a change of the schema is a new file.

    Its statements may run twice, and at the same time as another hop's.
    """

    version: int
    name: str
    text: str

    @property
    def hash(self) -> str:
        """SHA-256 of the file in hexadecimal."""
        return sha256(self.text.encode()).hexdigest()

    def statements(self, target: Target) -> list[str]:
        """Its SQL, with comments, without semicolons."""
        filled = _PLACEHOLDER.sub(lambda found: _fill(target, found[1], found[2]), self.text)
        statements = filled.replace("\n\nSETTINGS", "\nSETTINGS").split(";\n")  # no TTL leaves an empty line
        return [statement.strip() for statement in statements if statement.strip()]


def migrations() -> list[Migration]:
    """All of them, in order."""
    files = sorted(Path(__file__).parent.glob("[0-9][0-9][0-9]_*.sql"))
    return [Migration(int(file.name[:3]), file.stem[4:], file.read_text()) for file in files]


def created(statements: list[str]) -> set[str]:
    """Names of the tables and views that these create."""
    return {name for statement in statements for name in _CREATED.findall(statement)}


def windows(target: Target) -> Iterator[tuple[str, str]]:
    """For each table of the Collector, the table that stores it and the statement that turns its window on."""
    for table in COLLECTORS:
        setting = _deduplication(target, "")
        yield target.local(table), f"ALTER TABLE {target.stored(table)}{target.clause} MODIFY SETTING {setting}"


def identifier(name: str) -> str:
    """A name as it is written in SQL, whatever it holds."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def text(value: str) -> str:
    """A string as it is written in SQL."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _fill(target: Target, name: str, argument: str | None) -> str:
    return _PLACEHOLDERS[name](target, argument or "")


def _engine(target: Target, engine: str) -> str:
    return f"Replicated{engine}" if target.replicated else engine


def _deduplication(target: Target, _: str) -> str:
    return f"{'' if target.replicated else 'non_'}replicated_deduplication_window = {WINDOW}"


def _distributed(target: Target, arguments: str) -> str:
    """The table of all nodes over those of each; nothing without a cluster."""
    if target.cluster is None:
        return ""
    relation, key = arguments.split(maxsplit=1)
    where = f"{text(target.cluster)}, {text(target.database)}, {text(target.local(relation))}, {key}"
    return (
        f"-- {relation} on all nodes.\n"
        f"CREATE TABLE IF NOT EXISTS {target.name(relation)}{target.clause} AS {target.stored(relation)}\n"
        f"ENGINE = Distributed({where})"
    )


def _latest(_: Target, value: str) -> str:
    """Of a span's scores the latest of each name: an array of (how late, name, value)."""
    ordered = f"arrayReverseSort(one -> one.1, groupArray(((Revision, ScoredAt, -Ordinal), EvaluationName, {value})))"
    return f"arrayFilter((one, nth) -> nth = 1, {ordered}, arrayEnumerateUniq(tupleElement({ordered}, 2)))"


def _map(_: Target, arguments: str) -> str:
    """A map from name to value of such an array, without those that have no value."""
    scores, kind = arguments.split()
    pairs = f"arrayMap(one -> (one.2, assumeNotNull(one.3)), arrayFilter(one -> isNotNull(one.3), {scores}))"
    return f"CAST({pairs}, 'Map(String, {kind})')"


def _ttl(days: Callable[[Target], int]) -> Callable[[Target, str], str]:
    def clause(target: Target, time: str) -> str:
        return f"TTL {time} + toIntervalDay({days(target)})" if days(target) else ""

    return clause


_PLACEHOLDERS: Final[dict[str, Callable[[Target, str], str]]] = {
    "attributes": lambda _, pairs: otlp.attributes(pairs),
    "database": lambda target, _: identifier(target.database),
    "deduplication": _deduplication,
    "distributed": _distributed,
    "engine": _engine,
    "latest": _latest,
    "map": _map,
    "on_cluster": lambda target, _: target.clause,
    "resource_spans": lambda _, __: otlp.RESOURCE_SPANS,
    "table": lambda target, relation: target.stored(relation),
    "time": lambda _, nanoseconds: otlp.time(nanoseconds),
    "ttl_evaluations": _ttl(lambda target: target.evaluations_ttl_days),
    "ttl_ledger": _ttl(lambda target: target.ledger_ttl_days),
    "ttl_traces": _ttl(lambda target: target.traces_ttl_days),
}
