"""The evaluators of a configuration: which apply to what, and errors that say what to write instead."""

from contextlib import nullcontext
from typing import Any

import pytest
from msgspec.structs import replace

from otel_eval.config.models import Config
from otel_eval.config.sampling import Policy, Sampling, Traces
from otel_eval.config.values import PositiveDuration, Secret
from otel_eval.errors import ConfigError
from otel_eval.evaluators.evaluator import Scope, Subject
from otel_eval.judging.anthropic_client import AnthropicClient
from otel_eval.judging.config import Judging
from otel_eval.judging.configured import Configured, build
from otel_eval.judging.prices import PriceTable
from otel_eval.sampling.ledger import Decided
from tests import spans
from tests.judging.pool_setup import decided

CLIENT = AnthropicClient(Secret("any"), PriceTable.load(), base_url="http://127.0.0.1:9")


def built(*entries: Any, has_key: bool = True) -> list[Configured]:
    return build(config(entries), "c.yaml", lambda _: CLIENT, has_key=has_key)


def config(evaluators: tuple[Any, ...] | None) -> Config:
    return Config(
        judging=Judging(evaluators=evaluators), sampling=Sampling(policies=(Policy(name="slow", type="always_sample"),))
    )


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (["answred"], "c.yaml: judging.evaluators.[0]: no evaluator and no rubric is called 'answred'; did you mean answered?"),
        (["latency", "task_completon"], "judging.evaluators.[1]: no evaluator and no rubric is called 'task_completon'; did you"),
        ([{"answred": {}}], "c.yaml: judging.evaluators.[0].answred: unknown evaluator 'answred'; did you mean answered?"),
        ([{"rubric": "quality"}], "c.yaml: judging.evaluators.[0]: rubric: unknown rubric 'quality'; did you mean quality_4d?"),
        ([{"latency": {"maxx": "5s"}}], "judging.evaluators.[0].latency.maxx: unknown key; did you mean max?"),
        ([{"latency": {"max": "soon"}}], "judging.evaluators.[0].latency.max:"),
        ([{"rubric": "task_completion", "modell": "x"}], "judging.evaluators.[0].modell: unknown key; did you mean model?"),
        (["answered", "answered"], "judging.evaluators: answered is there twice; give one of them a name, as in latency/slow"),
        (["task_completion", {"rubric": "task_completion"}], "task_completion is there twice; copy the rubric under another id"),
        ([{"answered": {}, "latency": {}}], "judging.evaluators.[0]: expected a name, a name with its settings, rubric, pa"),
        ([{}], "judging.evaluators.[0]: expected a name"),
        ([{"answered": {}, "only": {"service": ["x"]}}], "evaluators.[0].only.service: unknown key; did you mean services?"),
        ([{"answered": {}, "only": "support"}], "judging.evaluators.[0].only:"),
        ([{"answered": {}, "only": {"services": "support"}}], "judging.evaluators.[0].only.services:"),
        ([{"answered": {}, "only": {"signals": ["thumb_down"]}}], "only: signals: no signal is called 'thumb_down'; did you"),
        ([{"answered": {}, "only": {"policies": ["slw"]}}], "[0].only.policies: no policy of sampling is called 'slw'; did you"),
        ([{"answered": {}, "only": {"policies": ["slow/*"]}}], "no policy of sampling is called 'slow/*'"),
        ([{"rubric": "turn_relevancy", "only": {"signals": ["*"]}}], "turn_relevancy: only: a session has no signals"),
        ([{"rubric": "turn_relevancy", "only": {"policies": ["slow"]}}], "only: a session has no signals, and no policy but"),
        ([{"answered": {}, "freshness": "15m"}], "evaluators.[0].freshness: only evaluators that ask a judge can wait"),
        ([{"rubric": "task_completion", "freshness": "soon"}], "evaluators.[0].freshness: 'soon': expected now, a duration of"),
        ([{"rubric": "task_completion", "freshness": "2d"}], "evaluators.[0].freshness: '2d': expected now, a duration"),
        ([{"panel": {}, "pairwise": {}}], "judging.evaluators.[0]: expected one of rubric, panel and pairwise"),
        ([{"pairwise": {"rubric": "quality_4d"}}], "judging.evaluators.[0]: quality_4d: expected one rubric of scope trace"),
        ([""], "judging.evaluators.[0]"),
        (["../../etc/passwd"], "judging.evaluators.[0]"),
        ([{"python": {"function": "nowhere:at_all"}}], "judging.evaluators.[0].python"),
    ],
)  # fmt: skip
def test_what_cannot_work_says_why(entries: list[Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        built(*entries)
    assert said in str(caught.value)


@pytest.mark.parametrize("policy", ["session", "asked", "*"])
def test_an_evaluator_of_sessions_may_be_limited_to_what_chooses_them(policy: str) -> None:
    assert built({"rubric": "turn_relevancy", "only": {"policies": [policy]}})


@pytest.mark.parametrize(("late_window", "evaluator"), [("11m", "turn_relevancy"), ("1m", "latency"), ("659s", "turn_relevancy")])
def test_sessions_are_remembered_until_they_have_gone_quiet(late_window: str, evaluator: str) -> None:
    own = replace(config((evaluator,)), traces=Traces(late_window=PositiveDuration.parse(late_window)))
    refused = late_window == "659s"
    with pytest.raises(ConfigError, match="late_window: expected at least 11m: turn_rel") if refused else nullcontext():
        assert build(own, "c.yaml", lambda _: CLIENT, has_key=True)


def test_by_default_what_needs_no_settings_and_the_rubric_only_with_a_key() -> None:
    with_key, without = (build(config(None), "c.yaml", lambda _: CLIENT, has_key=has_key) for has_key in (True, False))
    assert [one.name for one in with_key if one.kind == "llm"] == ["quality_4d"]
    assert [one.name for one in without] == [one.name for one in with_key if one.kind == "code"]
    assert "python" not in [one.name for one in without]
    assert [one.kind for one in with_key] == sorted(one.kind for one in with_key)


@pytest.mark.parametrize(
    ("only", "applies"),
    [
        ({}, True),
        ({"services": ["support"]}, True),
        ({"services": ["sup*"]}, True),
        ({"services": ["Support"]}, False),
        ({"services": ["billing", "support"]}, True),
        ({"agents": ["planner"]}, True),
        ({"agents": ["planner"], "services": ["billing"]}, False),
        ({"models": ["gpt-*"]}, True),
        ({"models": ["claude-*"]}, False),
        ({"signals": ["tool_error"]}, True),
        ({"signals": ["*_error"]}, True),
        ({"signals": ["thumbs_down"]}, False),
        ({"policies": ["baseline"]}, True),
        ({"policies": ["slow"]}, False),
        ({"policies": ["session", "asked", "base*"]}, True),
        ({"services": ["[a-"]}, False),
    ],
)
def test_a_selector_takes_what_each_of_its_lists_names(only: dict[str, Any], applies: bool) -> None:
    view = spans.view(
        spans.span({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner"}, identity=1),
        spans.span({"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"}, identity=2, parent=1),
    )
    made: Decided = decided(1, signals={"tool_error": "x"})
    (one,) = built({"answered": {}, "only": only})
    assert one.applies(Scope.TRACE, Subject(view=view), made) is applies
    assert not one.applies(Scope.SESSION, Subject(view=view), made)
    assert one.applies(Scope.TRACE, None, made)


@pytest.mark.parametrize("service", ["supp*", "billing"])
@pytest.mark.parametrize(
    ("evaluator", "scope", "values"),
    [({"rubric": "turn_relevancy"}, Scope.SESSION, {"policy": "session"}), ({"answered": {}}, Scope.TRACE, {"unread": True})],
)
def test_a_decision_that_names_no_service_is_about_the_one_of_the_spans(
    service: str, evaluator: dict[str, Any], scope: Scope, values: dict[str, Any]
) -> None:
    view = spans.view(spans.span({"gen_ai.operation.name": "chat"}, resource={"service.name": "support"}))
    (one,) = built(evaluator | {"only": {"services": [service]}})
    assert one.applies(scope, Subject(view=view), decided(1, service="", **values)) is (service != "billing")
