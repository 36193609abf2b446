"""Makes dashboards/*.json: `python deploy/grafana/build.py`. The SQL of estimates is that of `otel-eval query`, not a copy.

A panel's SQL is a query of the library, or one of panels/. ClickHouse's parameters become what Grafana fills in: the
window its macros $__fromTime and $__toTime, service and evaluations the dashboard's variables, all others their
defaults. Series are in the order of time, which the datasource needs to tell them apart by their texts.
"""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from otel_eval.clickhouse import queries

FOLDER = Path(__file__).parent / "dashboards"
PANELS = Path(__file__).parent / "panels"
DATASOURCE = {"type": "grafana-clickhouse-datasource", "uid": "otel-eval-clickhouse"}
_GIVEN = {
    "service": "${service:singlequote}",
    "evaluations": "[${evaluation:singlequote}]",
    "since": "$__fromTime",
    "until": "$__toTime",
    "measure": "${measure:singlequote}",
}
SERVICES = "SELECT DISTINCT ServiceName FROM otel_eval_traffic WHERE $__timeFilter(Minute) ORDER BY ServiceName"
EVALUATIONS = "SELECT DISTINCT EvaluationName FROM otel_evaluations WHERE $__timeFilter(Minute) ORDER BY EvaluationName"


class Panel(NamedTuple):
    """`query` is one of panels/ or of the library; a `unit` makes it a series over time, and None a table."""

    title: str
    query: str
    width: int
    height: int
    unit: str | None = None
    says: str = ""
    stacked: bool = False
    repeat: str | None = None


QUALITY = (
    Panel("$evaluation", "estimate", 24, 9, "none", repeat="evaluation",
          says="Estimate over all traffic, with its 95 % interval. Gaps: too few judged. The plain mean is for comparison."),
    Panel("What changed: the later half of the window against the earlier", "changed_since_yesterday", 24, 8),
    Panel("By service", "quality_by_service", 24, 8),
    Panel("By model", "quality_by_model", 24, 8),
    Panel("By prompt version", "quality_by_prompt_version", 24, 8),
    Panel("By version of the service", "quality_by_service_version", 24, 8),
    Panel("Retriever or generator", "retrieval_against_groundedness", 24, 8),
    Panel("Steps", "step_compounding", 24, 8),
    Panel("Worst traces", "worst_traces", 24, 10),
)  # fmt: skip
SIGNAL = (
    Panel("Share of all traces with a signal", "signals", 24, 9, "percentunit"),
    Panel("Traces by signals", "traffic", 12, 8, "short", stacked=True),
    Panel("Errors and cost", "errors", 12, 8, "short"),
    Panel("Duration of traces", "latency", 24, 8, "s", says="Upper ends of histogram bins, ten to a decade."),
    Panel("Slowest traces", "slow_traces", 24, 10),
)
JUDGE = (
    Panel("Spent on judging", "spend", 12, 8, "currencyUSD", stacked=True),
    Panel("How judging ended", "states", 12, 8, "short", stacked=True),
    Panel("Seconds of an answer", "answers", 12, 8, "s"),
    Panel("Evaluators", "evaluators", 12, 8),
    Panel("Spend by day", "judge_spend", 24, 9),
    Panel("Share judged", "judged_share", 24, 8),
)
LEDGER = (
    Panel("Traces and what was chosen, by policy", "policies", 12, 8, "short"),
    Panel("Decisions", "decisions", 12, 8, "short"),
    Panel("Share judged, and how judging ended", "judged_share", 24, 8),
    Panel("Signals by day", "signals_by_day", 12, 9),
    Panel("Outcomes by day", "outcomes_by_day", 12, 9),
    Panel("What a passed task costs", "cost_per_passed_task", 24, 8),
    Panel("Feedback without a trace", "unmatched", 24, 6),
)


def sql(query: str) -> str:
    """What the datasource gets: without comments, and with Grafana's words for the parameters."""
    file = PANELS / f"{query}.sql"
    full = queries.expand(file.read_text()) if file.exists() else queries.load(query).sql
    values = _GIVEN | {parameter.name: _value(parameter) for parameter in queries.parameters(full)}
    lines = [line for line in full.strip().splitlines() if not line.strip().startswith("--")]
    return re.sub(r"(?<!\$)\{(\w+):[^{}]+\}", lambda found: values[found[1]], "\n".join(lines))


def _value(parameter: queries.Parameter) -> str:
    """A query that names evaluations of its own, or a measure, keeps them."""
    default = parameter.default or ""
    keeps = parameter.name in ("evaluations", "measure") and default not in ("[]", "score")
    if parameter.name in _GIVEN and not keeps:
        return _GIVEN[parameter.name]
    if parameter.type.startswith("Array"):
        items = ", ".join(f"'{item}'" for item in default.split(","))
        return f"[{items}]"
    return f"'{default}'" if parameter.type == "String" else default


def panel(number: int, one: Panel, x: int, y: int) -> dict[str, Any]:
    """Grafana's model of a panel."""
    series = one.unit is not None
    target = {
        "refId": "A", "datasource": DATASOURCE, "editorType": "sql", "rawSql": sql(one.query), "format": 0 if series else 1,
        "queryType": "timeseries" if series else "table", "pluginVersion": "4.21.3",
    }  # fmt: skip
    return {
        "id": number, "title": one.title, "type": "timeseries" if series else "table", "datasource": DATASOURCE,
        "description": one.says, "gridPos": {"x": x, "y": y, "w": one.width, "h": one.height}, "targets": [target],
        "fieldConfig": _fields(one), "options": _options(one),
        **({"repeat": one.repeat, "repeatDirection": "h", "maxPerRow": 3} if one.repeat else {}),
    }  # fmt: skip


def _options(one: Panel) -> dict[str, Any]:
    if one.unit is None:
        return {"showHeader": True, "cellHeight": "sm"}
    return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}


def _fields(one: Panel) -> dict[str, Any]:
    if one.unit is None:
        return {"defaults": {"custom": {"align": "auto", "filterable": True, "inspect": True}}, "overrides": []}
    drawn: dict[str, Any] = {"drawStyle": "line", "lineWidth": 1, "showPoints": "auto", "spanNulls": False}
    if one.stacked:
        drawn = {"drawStyle": "bars", "fillOpacity": 80, "stacking": {"mode": "normal", "group": "A"}}
    band = [
        _override("Low", {"custom.lineWidth": 0, "custom.showPoints": "never", "custom.hideFrom": _HIDDEN}),
        _override("High", {"custom.lineWidth": 0, "custom.showPoints": "never", "custom.fillBelowTo": "Low",
                           "custom.fillOpacity": 25, "custom.hideFrom": _HIDDEN}),
        _override("Plain mean of what was judged", {"custom.lineStyle": {"fill": "dash", "dash": [4, 6]}}),
    ]  # fmt: skip
    return {"defaults": {"unit": one.unit, "custom": drawn}, "overrides": band if one.repeat else []}


_HIDDEN = {"legend": True, "tooltip": False, "viz": False}


def _override(name: str, properties: dict[str, Any]) -> dict[str, Any]:
    found = [{"id": key, "value": value} for key, value in properties.items()]
    return {"matcher": {"id": "byName", "options": name}, "properties": found}


def variables() -> list[dict[str, Any]]:
    """What one chooses at the top of a dashboard; all services are '', which goes into the SQL as it stands."""
    asked = {"type": "query", "datasource": DATASOURCE, "refresh": 2, "sort": 1, "hide": 0, "regex": "", "options": []}
    every = {"selected": True, "text": "All", "value": "$__all"}
    return [
        {**asked, "name": "service", "label": "Service", "query": {"editorType": "sql", "rawSql": SERVICES},
         "definition": SERVICES, "includeAll": True, "allValue": "''", "multi": False, "current": every},
        {**asked, "name": "evaluation", "label": "Evaluation", "query": {"editorType": "sql", "rawSql": EVALUATIONS},
         "definition": EVALUATIONS, "includeAll": True, "multi": True,
         "current": {"selected": True, "text": ["All"], "value": ["$__all"]}},
        _choice("bucket", "Estimate for each", {"hour": "3600", "6 hours": "21600", "day": "86400", "week": "604800"}, "day"),
        _choice("measure", "Measure", {"score": "score", "pass rate": "passed"}, "score"),
    ]  # fmt: skip


def _choice(name: str, label: str, values: dict[str, str], chosen: str) -> dict[str, Any]:
    options = [{"text": text, "value": value, "selected": text == chosen} for text, value in values.items()]
    query = ", ".join(f"{text} : {value}" for text, value in values.items())
    current = next(option for option in options if option["selected"])
    return {"type": "custom", "name": name, "label": label, "hide": 0, "query": query, "options": options, "current": current,
            "includeAll": False, "multi": False}  # fmt: skip


def dashboard(name: str, title: str, panels: Sequence[Panel]) -> dict[str, Any]:
    """One dashboard; panels flow from left to right."""
    tags = ["otel-eval"]
    link = {"type": "dashboards", "title": "otel-eval", "tags": tags, "asDropdown": True, "includeVars": True, "keepTime": True}
    return {
        "uid": f"otel-eval-{name}", "title": f"otel-eval: {title}", "tags": tags, "schemaVersion": 41, "version": 1,
        "editable": True, "graphTooltip": 1, "time": {"from": "now-7d", "to": "now"}, "refresh": "", "timezone": "",
        "links": [link], "annotations": {"list": []}, "templating": {"list": variables()}, "panels": list(_placed(panels)),
    }  # fmt: skip


def _placed(panels: Iterable[Panel]) -> Iterable[dict[str, Any]]:
    x = y = height = 0
    for number, one in enumerate(panels, 1):
        if x + one.width > 24:
            x, y, height = 0, y + height, 0
        yield panel(number, one, x, y)
        x, height = x + one.width, max(height, one.height)


def files() -> dict[Path, str]:
    """The text of each file."""
    made = {
        "quality": dashboard("quality", "quality", QUALITY),
        "signals": dashboard("signals", "signals", SIGNAL),
        "judge": dashboard("judge", "judges", JUDGE),
        "ledger": dashboard("ledger", "ledger", LEDGER),
    }
    return {FOLDER / f"{name}.json": json.dumps(document, indent=1, ensure_ascii=False) + "\n" for name, document in made.items()}


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text)
