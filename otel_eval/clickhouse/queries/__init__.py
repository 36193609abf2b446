"""The library of queries: questions that analysts have, as SQL that runs by name, or as `--show` prints it in any client.

One file is one query. Its head comment has a fixed form: the question (its first sentence is the line in the list), then
`Parameters`, `Columns` with units, and `Caveats`. A parameter is a line `--   name Type = default  meaning`; it stands in
the SQL as ClickHouse's `{name:Type}`, so values never become SQL. Without a default it has to be given.

A line `{include: name arguments}` stands for the fragment `_name.sql`, whose `{arguments}` they replace. What estimates
the quality of all traffic is there once (`_estimate.sql`), with its own parameters and caveats; it gives the numbers of
`analysis.post_stratified_mean` for the process variance, except that it has no exact intervals.

A time is RFC 3339 (of UTC without an offset), seconds since 1970, `now`, or what lies so long before it: `7 days ago`.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NamedTuple

from otel_eval.errors import ConfigError

_FOLDER: Final = Path(__file__).parent
_INCLUDE: Final = re.compile(r"^\{include: (\w+) ?(.*)\}$", re.MULTILINE)
_PARAMETER: Final = re.compile(r"^--   (\w+) (\S+)(?: = (\S+(?: \S+)*))?  +(\S.*)$")
_SECTIONS: Final = ("Parameters", "Columns", "Caveats")
_AGO: Final = re.compile(r"(\d{1,6}) (minute|hour|day)s? ago")
_SECONDS: Final = {"minute": 60, "hour": 3600, "day": 86400}
_TIME_LIKE: Final = "DateTime"
_MEASURES: Final = ("score", "passed")
_LATEST: Final = (1 << 32) - 1
_SECOND_NS: Final = 10**9


class Parameter(NamedTuple):
    """One of a query's; `default` is None where a value has to be given."""

    name: str
    type: str
    default: str | None
    meaning: str


class Query(NamedTuple):
    """A query of the library, its fragments filled in."""

    name: str
    summary: str
    parameters: tuple[Parameter, ...]
    sql: str

    def values(self, given: Mapping[str, str], now: datetime | None = None) -> dict[str, Any]:
        """What the client takes as parameters: the given texts, and defaults for the others; raises ConfigError.

        A list is given with commas between its items.
        """
        for name in given:
            if name not in {parameter.name for parameter in self.parameters}:
                known = ", ".join(parameter.name for parameter in self.parameters)
                raise ConfigError(f"{self.name}: no parameter {name!r:.100} (it has: {known})")
        return {
            parameter.name: _value(self.name, parameter, given.get(parameter.name), now or datetime.now(UTC))
            for parameter in self.parameters
        }


def names() -> list[str]:
    """All queries, by name."""
    return sorted(file.stem for file in _FOLDER.glob("[a-z]*.sql"))


def load(name: str) -> Query:
    """The query of that name; raises ConfigError."""
    if name not in (known := names()):
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"allowed: {', '.join(known)}"
        raise ConfigError(f"{name!r:.100}: no query has that name ({hint})")
    sql = expand((_FOLDER / f"{name}.sql").read_text())
    question = sql.partition("\n--\n")[0].replace("\n-- ", " ").removeprefix("-- ")
    return Query(name, re.split(r"[.?](?: |$)", question)[0], tuple(parameters(sql)), sql)


def expand(text: str) -> str:
    """The SQL with its fragments in place of `{include: name arguments}`."""

    def fragment(found: re.Match[str]) -> str:
        return (_FOLDER / f"_{found[1]}.sql").read_text().strip().replace("{arguments}", found[2])

    return _INCLUDE.sub(fragment, text)


def parameters(sql: str) -> Sequence[Parameter]:
    """What the comments in the SQL say of its parameters; a query's own words go before those of a fragment."""
    found: dict[str, Parameter] = {}
    section = ""
    for line in sql.splitlines():
        word = line.removeprefix("-- ").rstrip()
        section = word if word in _SECTIONS else section if line.startswith("--") else ""
        if section == "Parameters" and (match := _PARAMETER.match(line)):
            default = None if match[3] is None else match[3].strip("'")
            found.setdefault(match[1], Parameter(match[1], match[2], default, match[4]))
    return list(found.values())


def _value(query: str, parameter: Parameter, given: str | None, now: datetime) -> Any:
    text = parameter.default if given is None else given
    if text is None:
        raise ConfigError(f"{query}: expected a value for {parameter.name} ({parameter.meaning})")
    if parameter.name == "measure" and text not in _MEASURES:  # anything else would be taken for score
        raise ConfigError(f"{query}: measure: {text!r:.100}: expected {' or '.join(_MEASURES)}")
    if parameter.type == "Array(String)":
        return [item.strip() for item in text.split(",") if item.strip() not in ("", "[]")]
    return time_value(parameter.name, text, now) if parameter.type == _TIME_LIKE else text


def time_value(name: str, text: str, now: datetime) -> str:
    """Seconds since 1970 of a time as the package describes it; raises ConfigError, which names `name`.

    They are ten digits: less than five are no time to ClickHouse.
    """
    return f"{time_ns(name, text, now) // _SECOND_NS + (text == 'now'):010}"  # what was just counted is before it


def time_ns(name: str, text: str, now: datetime) -> int:
    """The same time in ns, to the microsecond."""
    if ago := _AGO.fullmatch(text):
        return max(_since_1970(now) - int(ago[1]) * _SECONDS[ago[2]] * _SECOND_NS, 0)
    try:
        seconds = re.fullmatch(r"\d{1,12}", text, re.ASCII)
        moment = int(text) * _SECOND_NS if seconds else _since_1970(now if text == "now" else datetime.fromisoformat(text))
    except ValueError:
        expected = "expected a time such as 2026-01-31T12:00:00Z, `7 days ago` or `now`"
        raise ConfigError(f"{name}: {text!r:.100}: {expected}") from None
    if not 0 <= moment // _SECOND_NS <= _LATEST:
        raise ConfigError(f"{name}: {text!r:.100}: expected a time from 1970 to 2106")
    return moment


def _since_1970(moment: datetime) -> int:
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(microseconds=1) * 1000
