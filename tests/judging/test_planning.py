"""Deciding about recorded traces as they come, and keeping the chosen ones on disk."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_eval.config import load
from otel_eval.inspection.load import read
from otel_eval.judging import planning
from otel_eval.judging.planning import ALWAYS, Plan, Planner, Spool, Window
from otel_eval.judging.queue import Job, Priority
from otel_eval.traces.view import TraceView
from tests import hop, spans
from tests.judging.history import captured

PROJECT = Path(__file__).parents[2]
MINUTE_NS = 60 * 10**9
TOO_LITTLE_ROOM = """
import resource
from otel_eval.errors import ConfigError
from otel_eval.judging.planning import Spool
from tests.judging.test_planning import job
spool = Spool()
spool.append(job(1, 10))
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    spool.append(job(2, 20_000))
except ConfigError as error:
    assert "cannot be kept in a temporary file: File too large" in str(error), error
else:
    raise AssertionError("there was room")
spool.append(job(3, 10))
assert [one.id for one in spool] == ["1", "3"]
"""


def job(number: int, size: int) -> Job:
    times = {"created_ns": 1, "due_ns": 1, "expires_at_ns": 1}
    return Job(id=str(number), priority=Priority.BASELINE, body=bytes([number % 256]) * size, trace_id="0a", **times)


def sampling(tmp_path: Path, **section: Any) -> Any:
    return load(
        str(hop.write_config(tmp_path, hop.settings(tmp_path, {"debug": {}}, sampling={"signals": {}, **section})))
    ).config


def traces(tmp_path: Path, count: int = 30) -> list[TraceView]:
    return sorted(read([captured(tmp_path, count)]), key=lambda view: view.end_ns)


@given(st.lists(st.integers(0, 3000), max_size=30))
def test_what_is_spooled_comes_back(sizes: list[int]) -> None:
    spool, made = Spool(), [job(number, size) for number, size in enumerate(sizes)]
    for one in made:
        spool.append(one)
    assert list(spool) == made == list(spool)
    assert (len(spool), spool[1:3], spool[-1:]) == (len(made), made[1:3], made[-1:])
    with pytest.raises(IndexError):
        spool[len(made)]


def test_a_disk_without_room_is_said_and_what_is_there_stays() -> None:
    done = subprocess.run([sys.executable, "-c", TOO_LITTLE_ROOM], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("cap", [None, {"per_hour": 5}, {"per_minute": 1}])
@pytest.mark.parametrize("step", [1, 7])
def test_traces_that_come_in_parts_are_decided_as_all_at_once(step: int, cap: dict[str, int] | None, tmp_path: Path) -> None:
    config = sampling(tmp_path, baseline={"rate": 0.5}, **({"cap": cap} if cap else {}))
    views = traces(tmp_path)
    planner = Planner(config.sampling, config.scrub, ALWAYS)
    for start in range(0, len(views), step):
        planner.keep(planner.decide(views[start : start + step]))
    planner.keep(planner.finish())
    once = planning.plan(config.sampling, config.scrub, traces(tmp_path))
    assert 0 < len(once.jobs) < 30
    assert ids(planner.plan) == ids(once)
    assert (planner.plan.traces, planner.plan.by_policy) == (once.traces, once.by_policy)


def ids(plan: Plan) -> list[str]:
    return [one.id for one in plan.jobs]


def test_what_is_judged_or_outside_of_the_window_is_left_out(tmp_path: Path) -> None:
    config = sampling(tmp_path, baseline={"rate": 1.0})
    views = traces(tmp_path, 6)
    start = spans.START_NS + 3 * MINUTE_NS
    planner = Planner(config.sampling, config.scrub, Window(start, start + 2 * MINUTE_NS))
    chosen = planner.decide(views)
    assert [view.trace_id for _, view in chosen] == [view.trace_id for view in views[2:4]]
    planner.keep(chosen, {views[2].trace_id})
    assert planner.plan[0] == 2
    assert (planner.plan.judged, ids(planner.plan)) == (1, [f"{views[3].trace_id}:trace:0"])
    planner.keep(chosen)
    assert len(planner.plan.jobs) == 2, "a trace that comes twice is judged once"
