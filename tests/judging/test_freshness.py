"""How soon verdicts are wanted: what may be written, and the jobs that are made of it."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_eval.config.models import Config, JournalConfig
from otel_eval.config.values import Secret
from otel_eval.errors import ConfigError
from otel_eval.journal import Journal
from otel_eval.judging import job as jobs
from otel_eval.judging.config import Judging, Provider
from otel_eval.judging.freshness import BATCH_S, NOW, Freshness
from otel_eval.judging.running import RunningJudging, check
from otel_eval.records import Sync
from otel_eval.scrub.config import ScrubConfig
from otel_eval.telemetry import Metrics
from tests.judging.pool_setup import decided, stored

RUBRIC: dict[str, Any] = {"rubric": "task_completion"}
TIMES = st.floats(0, 4e9)


@given(TIMES, st.sampled_from(["now", "15m", "1s", "24h", "nightly"]))
def test_a_question_is_sent_within_a_day(asked_s: float, text: str) -> None:
    freshness = Freshness(text)
    assert asked_s <= freshness.due(asked_s) <= asked_s + 86_400
    assert (freshness.due(asked_s) > asked_s) is freshness.waits


@given(TIMES)
def test_the_night_begins_at_two(asked_s: float) -> None:
    assert Freshness("nightly").due(asked_s) % 86_400 == 2 * 3600


@given(TIMES, st.floats(1, 1e6))
def test_the_deadline_begins_when_a_batch_must_have_ended(asked_s: float, deadline_s: float) -> None:
    night = Freshness("nightly")
    assert night.deadline_s(asked_s, deadline_s) == pytest.approx(night.due(asked_s) - asked_s + BATCH_S + deadline_s)
    assert NOW.deadline_s(asked_s, deadline_s) == deadline_s


@pytest.mark.parametrize("text", ["", "soon", "0", "0s", "-5m", "25h", "1d1s", "15", "NOW", "15m "])
def test_what_is_no_freshness(text: str) -> None:
    with pytest.raises(ValueError, match="expected now, a duration of a day at most such as 15m, or nightly"):
        Freshness(text)


def config(*evaluators: str | dict[str, Any], freshness: str = "now", api: Any = "anthropic") -> Judging:
    provider = Provider(api=api, api_key=Secret("any"), base_url="http://127.0.0.1:9")
    return Judging(evaluators=evaluators, freshness=Freshness(freshness), provider=provider)


@pytest.mark.parametrize(
    "judging", [config(RUBRIC | {"freshness": "15m"}, api="openai"), config(RUBRIC, freshness="15m", api="openai")]
)
def test_a_provider_without_batches_is_named(judging: Judging) -> None:
    with pytest.raises(ConfigError) as caught:
        check(Config(judging=judging), "c.yaml")
    assert str(caught.value) == (
        "c.yaml: judging: freshness: 15m (task_completion) needs message batches, which servers with provider.api openai "
        "do not have; allowed with it: now"
    )


@pytest.mark.parametrize("judging", [config("latency", freshness="15m", api="openai"), config(RUBRIC, api="openai")])
def test_what_costs_nothing_never_waits(judging: Judging) -> None:
    check(Config(judging=judging), "c.yaml")


@pytest.mark.parametrize(
    ("judging", "wanted"),
    [
        (config("answered", RUBRIC), {"now": None}),
        (config("answered", RUBRIC, freshness="nightly"), {"now": ("answered",), "nightly": ("task_completion",)}),
        (config(RUBRIC | {"freshness": "15m"}), {"15m": ("task_completion",)}),
        (config(RUBRIC | {"freshness": "now"}, "answered", freshness="15m"), {"now": None}),
        (
            config("answered", RUBRIC | {"freshness": "15m"}, {"rubric": "abstention"}, {"rubric": "instruction_adherence"}),
            {"now": ("answered", "abstention", "instruction_adherence"), "15m": ("task_completion",)},
        ),
        (config("answered", RUBRIC | {"only": {"services": ["x"]}, "freshness": "15m"}), {"now": ("answered",)}),
        (config(RUBRIC | {"only": {"services": ["x"]}, "freshness": "15m"}), {"now": ()}),
    ],
)
async def test_what_may_wait_has_a_job_of_its_own(tmp_path: Path, judging: Judging, wanted: dict[str, Any]) -> None:
    journal = Journal(tmp_path, 64 << 20, Sync.NEVER)
    running = RunningJudging(
        Config(judging=judging, scrub=ScrubConfig(), journal=JournalConfig(directory=tmp_path)), "c.yaml", journal, Metrics()
    )
    try:
        for _ in range(2):  # what was decided before a crash is decided again
            await running.judge(decided(1), [stored(1)])
        claims = await running._queue.claim(10, 60)
    finally:
        await running.stop()
        await journal.close()
    found = {claim.job.id.removeprefix(f"{1:032x}:trace:0").lstrip(":") or "now": claim.job for claim in claims}
    assert {freshness: jobs.read(job).evaluators for freshness, job in found.items()} == wanted
    for freshness, job in found.items():
        assert jobs.may_wait(job) is (freshness != "now")
        left_s = (job.expires_at_ns - job.created_ns) / 1e9
        assert left_s == pytest.approx(Freshness(freshness).deadline_s(job.created_ns / 1e9, judging.deadline))
