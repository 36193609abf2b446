"""The report for a person, with rich. Text from traces is shown without anything that could steer a terminal."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from textwrap import indent
from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from otel_eval.analysis.estimate import Estimate
from otel_eval.demo import queries
from otel_eval.demo.hop import REAL_BUDGET_USD
from otel_eval.demo.results import Results, Score, Slice
from otel_eval.inspection.load import find
from otel_eval.inspection.plain_text import one_line
from otel_eval.inspection.render import show
from otel_eval.traces.records import Evaluation

_WIDTH: Final = 120


def console() -> Console:
    """Where everything is printed; 120 characters wide when it is no terminal."""
    found = Console(highlight=False, markup=False)
    return found if found.is_terminal else Console(highlight=False, markup=False, width=_WIDTH)


class Report:
    """Prints the results, part by part."""

    def __init__(self, out: Console, results: Results, sent_spans: int, *, real: bool) -> None:
        self._out = out
        self._results = results
        self._sent = sent_spans
        self._real = real

    def show(self, journal_directory: Path) -> None:
        """All of it."""
        self._forwarded()
        self._chosen()
        self._quality()
        self._schema_change()
        self._worst(journal_directory)

    def _forwarded(self) -> None:
        found = self._results
        self._title("What was forwarded")
        same = "all of them" if found.spans == self._sent else "NOT THE SAME"
        self._say(f"{self._sent:,} spans sent, {found.spans:,} in ClickHouse ({same}), {found.traces:,} traces.")
        self._sql(queries.FORWARDED)

    def _chosen(self) -> None:
        found = self._results
        self._title("What was judged, and why")
        rows = []
        for group in found.groups:
            pi = f"{group.max_pi:.3g}" if group.min_pi == group.max_pi else f"{group.min_pi:.3g} to {group.max_pi:.3g}"
            rows.append((group.policy, group.signal, f"{group.traces:,}", f"{group.chosen:,}", pi))
        self._table(("policy", "signal"), ("traces", "chosen", "probability"), rows)
        states = ", ".join(f"{one_line(state)} {jobs:,}" for state, jobs in found.states.items())
        spent = f"{found.spent_usd:.2f} USD" + (f" of {REAL_BUDGET_USD:.2f}" if self._real else ", simulated: nothing was paid")
        self._say(f"{found.with_one_end:,} of {found.chosen:,} chosen traces came to one end: {states}. Judges took {spent}.")
        self._sql(queries.CHOSEN)
        self._sql(queries.JUDGED)

    def _quality(self) -> None:
        found = self._results
        self._title(
            f"Quality: share of traces that pass {queries.COMPOSITE}, by version of the prompt, by day, by what was asked"
        )
        self._slices("prompt", found.by_version)
        self._slices("day", found.by_day)
        self._slices("asked about", found.by_intent)
        self._say(
            "The estimate weighs each judged trace by 1/probability, in classes of all traffic that was counted. The mean of "
            "what was judged does not, and is wrong: failures are judged more often."
        )
        judged, passed_bad, failed_good = found.agreement.judged, found.agreement.passed_bad, found.agreement.failed_good
        right = (judged - passed_bad - failed_good) / judged if judged else 0.0
        self._say(
            f"The interval is about what the judge would say of all traces. The judge itself is right about {right:.0%} of "
            f"{judged:,}: it let {passed_bad} bad answers pass and failed {failed_good} good ones. The truth is known to the "
            "demo alone, and in no span."
        )
        self._sql(queries.quality("PromptVersion"))
        self._sql(queries.quality("intent"))

    def _slices(self, name: str, slices: Sequence[Slice]) -> None:
        rows = [
            (one.name, *_numbers(one.estimate), "-" if one.raw_mean is None else f"{one.raw_mean:.3f}", f"{one.truth:.3f}")
            for one in slices
        ]
        self._table((name,), ("estimate", "95 % interval", "n", "n_eff", "of traces", "mean of judged", "truth"), rows)

    def _schema_change(self) -> None:
        fall = self._results.fall
        self._title("What changed on day three")
        if fall is None:
            self._say("Too few traces were judged by day to compare.")
            return
        self._say(
            f"{one_line(fall.evaluator)} found it: its pass rate fell from {fall.before:.2f} to {fall.after:.2f} on "
            f"{one_line(fall.day)}. “{one_line(fall.why)[:300]}”"
        )
        self._sql(queries.BY_DAY_AND_EVALUATOR)

    def _worst(self, journal_directory: Path) -> None:
        found = self._results
        self._title("The worst trace")
        if found.worst is None:
            self._say("Nothing was judged.")
            return
        views = find(found.worst, journal_directory)
        for view in views:
            view.evaluations = tuple(_evaluation(score) for score in found.worst_scores)
        show(views)
        self._sql(queries.WORST)
        self._sql(queries.scores(found.worst))

    def _title(self, text: str) -> None:
        self._out.print()
        self._out.rule(Text(text, "bold"), align="left")

    def _say(self, text: str) -> None:
        self._out.print(text)

    def _table(self, names: Iterable[str], numbers: Iterable[str], rows: Iterable[Sequence[str]]) -> None:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name in names:
            table.add_column(name)
        for number in numbers:
            table.add_column(number, justify="right")
        for row in rows:
            table.add_row(*(Text(one_line(cell)) for cell in row))
        self._out.print(Padding(table, (0, 0, 1, 0)))

    def _sql(self, sql: str) -> None:
        self._out.print()
        self._out.print(Text(indent(sql.strip(), "  "), "dim"), soft_wrap=True)


def _numbers(estimate: Estimate) -> tuple[str, ...]:
    value = "not enough" if estimate.estimate is None else f"{estimate.estimate:.3f}"
    interval = "-" if estimate.interval is None else "{:.3f} to {:.3f}".format(*estimate.interval)
    return value, interval, f"{estimate.n:,}", f"{estimate.n_eff:.0f}", f"{estimate.N:,.0f}"


def _evaluation(score: Score) -> Evaluation:
    """As a trace would carry it; what the stand-in said is marked."""
    label = " · ".join(filter(None, (score.label, "simulated" if score.simulated else "")))
    return Evaluation(score.name, score.value, label or None, score.explanation, None, score.kind, None)
