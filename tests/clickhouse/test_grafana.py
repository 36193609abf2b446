"""Grafana's dashboards: what they ask runs on the engine, and Grafana can load them."""

import json
import re
from collections.abc import Callable
from datetime import datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana import build
from tests.clickhouse import history
from tests.clickhouse.conftest import Database
from tests.clickhouse.history import DAY, MIDNIGHT

stored_shop, shop = history.stored_shop, history.shop
FOLDER = Path(build.__file__).parent
DASHBOARDS: dict[str, dict[str, Any]] = {file.stem: json.loads(file.read_text()) for file in sorted(build.FOLDER.glob("*.json"))}
PANELS = {f"{name}: {panel['title']}": panel for name, board in DASHBOARDS.items() for panel in board["panels"]}
FROM, TO = MIDNIGHT * 60, (MIDNIGHT + 2 * DAY) * 60
CHOSEN = {"service": "'shop'", "evaluation": "'task_completion','context_relevance'", "measure": "'score'", "bucket": "86400"}
ALL = CHOSEN | {"service": "''", "evaluation": "'task_completion','context_relevance','factual_grounding'", "bucket": "3600"}
MACROS: dict[str, Callable[[str], str]] = {  # as the datasource expands them
    "fromTime": lambda _: f"toDateTime({FROM})",
    "toTime": lambda _: f"toDateTime({TO})",
    "timeFilter": lambda column: f"{column} >= toDateTime({FROM}) AND {column} <= toDateTime({TO})",
    "timeInterval": lambda column: f"toStartOfInterval(toDateTime({column}), INTERVAL 3600 second)",
    "interval_s": lambda _: "3600",
}


def filled(sql: str, chosen: dict[str, str]) -> str:
    """What reaches ClickHouse. An unknown macro or variable is a KeyError."""
    sql = re.sub(r"\$\{(\w+)(?::singlequote)?\}", lambda found: chosen[found[1]], sql)
    return re.sub(r"\$__(\w+)(?:\(([^()]*)\))?", lambda found: MACROS[found[1]](found[2]), sql)


@pytest.mark.parametrize("name", PANELS)
async def test_every_panel_asks_what_the_engine_answers(shop: Database, name: str) -> None:
    (target,) = PANELS[name]["targets"]
    found = await shop.reader.query(filled(target["rawSql"], ALL))
    assert found.rows or name == "ledger: Feedback without a trace", name
    if PANELS[name]["type"] == "timeseries":
        assert found.names[0] == "time"
        times = [row[0] for row in found.rows]
        assert all(isinstance(time, datetime) for time in times)
        assert times == sorted(times)
        assert any("Int" in kind or "Float" in kind for kind in found.types)


async def test_what_a_panel_shows_is_what_the_library_says(shop: Database) -> None:
    sql = filled(PANELS["quality: $evaluation"]["targets"][0]["rawSql"], CHOSEN | {"evaluation": "'context_relevance'"})
    rows = (await shop.reader.query(sql)).rows
    assert [(row[1], row[2] < row[1] < row[3]) for row in rows] == [(0.9, True), (0.5, True)]
    latency = (await shop.reader.query(filled(PANELS["signals: Duration of traces"]["targets"][0]["rawSql"], CHOSEN))).rows
    assert 30 <= latency[0][1] <= 40  # traces 0 to 59 of the first hour last as many seconds
    assert latency[0][3] >= 58
    states = (await shop.reader.query(filled(PANELS["judge: How judging ended"]["targets"][0]["rawSql"], ALL))).rows
    assert sum(row[2] for row in states if row[1] == "expired") == 1


def test_the_files_are_what_the_library_gives() -> None:
    for path, text in build.files().items():
        assert path.read_text() == text, f"run: python deploy/grafana/build.py ({path.name})"
    assert {path.name for path in build.files()} == {path.name for path in build.FOLDER.iterdir()}


def test_grafana_can_load_them() -> None:
    assert set(DASHBOARDS) == {"quality", "signals", "judge", "ledger"}
    assert len({board["uid"] for board in DASHBOARDS.values()}) == len(DASHBOARDS)
    for board in DASHBOARDS.values():
        ids = [panel["id"] for panel in board["panels"]]
        assert len(set(ids)) == len(ids)
        names = [variable["name"] for variable in board["templating"]["list"]]
        assert {"service", "evaluation", "bucket", "measure"} == set(names)
        for panel in board["panels"]:
            at = panel["gridPos"]
            assert 0 <= at["x"] < at["x"] + at["w"] <= 24
            assert panel.get("repeat", names[0]) in names
        for one, other in combinations((panel["gridPos"] for panel in board["panels"]), 2):
            apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
            assert apart_x or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]


def test_everything_names_the_provisioned_datasource() -> None:
    (source,) = yaml.safe_load((FOLDER / "provisioning/datasources/clickhouse.yaml").read_text())["datasources"]
    uids = {uid for board in DASHBOARDS.values() for uid in re.findall(r'"uid": "([^"]*)"', json.dumps(board["panels"]))}
    assert uids == {source["uid"]}
    assert all(variable.get("datasource", build.DATASOURCE) == build.DATASOURCE for variable in build.variables())
    assert build.DATASOURCE["type"] == source["type"]
    compose = yaml.safe_load((FOLDER.parent / "compose.yaml").read_text())["services"]["grafana"]
    used = set(re.findall(r"\$(\w+)", json.dumps(source)))
    assert used <= set(compose["environment"])
    (provider,) = yaml.safe_load((FOLDER / "provisioning/dashboards/otel-eval.yaml").read_text())["providers"]
    mounts = [mount.split(":") for mount in compose["volumes"]]
    assert ["./grafana/dashboards", provider["options"]["path"], "ro"] in mounts
    assert ["./grafana/provisioning", "/etc/grafana/provisioning", "ro"] in mounts


async def test_variables_are_filled_by_the_engine(shop: Database) -> None:
    for sql, first in ((build.SERVICES, "bot"), (build.EVALUATIONS, "context_relevance")):
        assert (await shop.reader.query(filled(sql, {}))).rows[0] == (first,)
