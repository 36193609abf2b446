"""Judging that somebody waits for: `POST /v1/evaluate` of a running hop, and `otel-eval evaluate`."""

import base64
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
import pytest_asyncio
from click.testing import CliRunner
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_eval.cli import main
from otel_eval.records import Kind
from otel_eval.service import Service
from otel_eval.standin import Fault, StandIn
from otel_eval.standin import Kind as FaultKind
from tests import hop, spans
from tests.hop import otlp_to, write_config
from tests.judging.judges import error
from tests.judging.pool_setup import RUBRIC
from tests.sink import Sink

SAID = {
    "gen_ai.operation.name": "chat",
    "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": "Where is my order?"}]}]),
    "gen_ai.output.messages": json.dumps(
        [{"role": "assistant", "parts": [{"type": "text", "content": "It left this morning."}]}]
    ),
}
WRONG = {key: text.replace("left", "lost") for key, text in SAID.items()}


QUESTION = {"input": "Where is my order?", "output": "It left us."}


class Asking:
    """A hop with judges, and questions to it."""

    def __init__(self, service: Service, api: StandIn, session: aiohttp.ClientSession, url: str) -> None:
        self.service = service
        self.api = api
        self._session = session
        self._url = url

    async def post(self, question: Any, *, raw: bytes | None = None) -> tuple[int, Any]:
        body = json.dumps(question).encode() if raw is None else raw
        async with self._session.post(self._url, data=io.BytesIO(body), headers={"Content-Type": "application/json"}) as response:
            return response.status, json.loads(await response.read())


def judging(url: str) -> dict[str, Any]:
    contains = {"contains": {"texts": ["left"]}}
    return {"provider": {"api_key": "any", "base_url": url}, "evaluators": ["answered", contains, RUBRIC, PAIRWISE]}


@pytest_asyncio.fixture
async def asking(tmp_path: Path, sink: Sink) -> AsyncIterator[Asking]:
    async with StandIn() as api, aiohttp.ClientSession() as session:
        sampling = {"baseline": {"rate": 1e-9}}
        config = hop.settings(tmp_path, {"otlp": otlp_to(sink.grpc_port)}, sampling=sampling, judging=judging(api.url))
        service = await hop.start_service(tmp_path, config)
        try:
            yield Asking(service, api, session, f"http://{config['api']['endpoint']}/v1/evaluate")
        finally:
            await service.stop(0)


PAIRWISE = {"pairwise": {"rubric": "instruction_adherence"}}


def states(answer: Any) -> dict[str, str]:
    return {one["evaluator"]: one["state"] for one in answer["results"]}


def request(*traces: int, said: dict[str, str] | None = None) -> bytes:
    return spans.trace_request([spans.span(said or SAID, trace=number) for number in traces])


async def test_plain_input_and_output_are_judged_by_all(asking: Asking) -> None:
    status, answer = await asking.post({"input": "Where is my order?", "output": "It left us.", "context": ["It left."]})
    assert (status, answer["state"]) == (200, "scored")
    assert states(answer) == {
        "answered": "scored", "contains": "scored", "task_completion": "scored", "instruction_adherence_pairwise": "no_content",
    }  # fmt: skip
    by_judge = next(one for one in answer["scores"] if one["kind"] == "llm")
    assert by_judge["judge"]["simulated"] is True


async def test_two_answers_are_compared_in_both_orders_and_scrubbed(asking: Asking) -> None:
    question = QUESTION | {"output": "Ask jane@x.com.", "expected": "Ask bob@x.com, or jane@x.com."}
    status, answer = await asking.post(question | {"evaluators": ["instruction_adherence_pairwise"]})
    assert (status, answer["state"]) == (200, "scored")
    assert answer["scores"][0]["label"] in ("better", "worse", "tie")
    shown = [json.loads(one.body)["messages"][0]["content"][0]["text"] for one in asking.api.seen]
    own, other = r"Ask \u003cEMAIL_1\u003e.", r"Ask \u003cEMAIL_2\u003e, or \u003cEMAIL_1\u003e."
    assert [text.index(own) < text.index(other) for text in shown] == [True, False]
    assert "@x.com" not in "".join(shown)


async def test_named_evaluators_alone_are_asked(asking: Asking) -> None:
    status, answer = await asking.post({"output": "Nothing.", "evaluators": ["contains"]})
    assert (status, states(answer), answer["scores"][0]["passed"]) == (200, {"contains": "scored"}, False)
    assert not asking.api.seen


async def test_an_evaluator_that_is_named_twice_is_asked_once(asking: Asking) -> None:
    status, answer = await asking.post(QUESTION | {"evaluators": ["task_completion", "answered", "task_completion"]})
    assert (status, [one["evaluator"] for one in answer["results"]]) == (200, ["task_completion", "answered"])
    once = len(asking.api.seen)
    await asking.post(QUESTION | {"output": "It left you.", "evaluators": ["task_completion"]})
    assert len(asking.api.seen) == 2 * once, "as many calls as for one name"


async def test_a_trace_of_the_hop_is_found_by_its_id(asking: Asking, sink: Sink) -> None:
    await asking.service._intake.accept(Kind.TRACES, request(7), "grpc")
    await sink.wait_for_items(1)
    for trace_id in (f"{7:032x}", f"{7:032X}"):
        status, answer = await asking.post({"trace_id": trace_id, "evaluators": ["answered", "task_completion"]})
        assert (status, answer["trace_id"], answer["state"]) == (200, f"{7:032x}", "scored")
    assert len(sink.items(Kind.TRACES)) == 1, "the answer goes to whoever asked, and nowhere else"
    status, answer = await asking.post({"trace_id": f"{8:032x}"})
    assert (status, "is not here" in answer["error"]) == (400, True)


async def test_otlp_may_hold_several_traces(asking: Asking) -> None:
    document = MessageToDict(ExportTraceServiceRequest.FromString(request(1, 2)), use_integers_for_enums=True)
    for span in (scope["spans"][0] for group in document["resourceSpans"] for scope in group["scopeSpans"]):
        span |= {name: base64.b64decode(span[name]).hex() for name in ("traceId", "spanId")}
    status, answer = await asking.post({"otlp": document, "evaluators": ["answered"]})
    assert (status, [one["trace_id"] for one in answer]) == (200, [f"{1:032x}", f"{2:032x}"])


async def test_who_is_late_has_expired_and_the_others_have_not(asking: Asking) -> None:
    asking.api.script.append(Fault(kind=FaultKind.HANG))
    status, answer = await asking.post(QUESTION | {"timeout_s": 0.7})
    assert (status, answer["state"]) == (200, "scored")
    assert states(answer)["task_completion"] == "expired"
    status, answer = await asking.post(QUESTION | {"timeout_s": 0.001, "evaluators": ["task_completion"]})
    assert (status, answer["state"], answer["scores"]) == (200, "expired", [])


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        (error(401, "authentication_error"), "blocked_evaluator"),
        (error(400, "invalid_request_error"), "dead_letter"),
        (error(413, "request_too_large"), "too_large"),
        (Fault(kind=FaultKind.OVERLOADED), "expired"),
        (Fault(kind=FaultKind.REFUSAL), "judge_refused"),
    ],
)
async def test_a_judge_that_fails_is_told_and_not_tried_again(asking: Asking, fault: Fault, state: str) -> None:
    asking.api.script.append(fault)
    status, answer = await asking.post(QUESTION)
    assert (status, answer["state"], states(answer)["task_completion"]) == (200, "scored", state)
    assert len(asking.api.seen) == 1
    assert next(one for one in answer["results"] if one["evaluator"] == "task_completion")["reason"]


class Broken:
    """An evaluator with a defect."""

    async def evaluate(self, _: Any) -> Any:
        raise KeyError("a text of the trace")


async def test_an_evaluator_that_raises_costs_the_others_nothing(asking: Asking) -> None:
    judging = asking.service._judging
    assert judging is not None
    configured = next(one for one in judging.judges.examiner.evaluators if one.name == "answered")
    configured._evaluator = cast(Any, Broken())
    status, answer = await asking.post(QUESTION | {"evaluators": ["answered", "contains"]})
    assert (status, states(answer)) == (200, {"answered": "dead_letter", "contains": "scored"})
    assert answer["results"][0]["reason"] == "KeyError in an evaluator"


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (
            {"output": "x", "evaluators": ["answred"]},
            "'answred' is not configured (configured: answered, contains, ",
        ),
        ({}, "exactly one of trace_id, otlp and output"),
        ({"input": "x"}, "exactly one of"),
        ({"output": "x", "trace_id": "1" * 32}, "exactly one of"),
        ({"trace_id": "1" * 31}, "trace_id"),
        ({"trace_id": "x" * 32}, "trace_id"),
        ({"output": "x", "outputs": "y"}, "outputs"),
        ({"output": 5}, "output"),
        ({"output": "x", "timeout_s": 0}, "timeout_s"),
        ({"output": "x", "timeout_s": 1e9}, "timeout_s"),
        ({"output": "x", "context": ["y"] * 1001}, "context"),
        ({"otlp": {}}, "no trace in it"),
        ({"otlp": {"resourceSpans": "x"}}, ""),
        ({"otlp": {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "zz"}]}]}]}}, ""),
        ([], "expected JSON"),
        (None, "expected JSON"),
    ],
)
async def test_what_cannot_be_asked_is_refused(asking: Asking, question: Any, said: str) -> None:
    status, answer = await asking.post(question)
    assert (status, said in answer["error"]) == (400, True), answer


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"\xff\xfe", b'{"output": "\xed\xa0\x80"}', b'{"output": "\\ud800"}', b"[" * 100_000, b'{"expected":' * 50_000],
)
async def test_bytes_that_are_no_question_are_refused(asking: Asking, raw: bytes) -> None:
    status, _ = await asking.post(None, raw=raw)
    assert status == 400


@pytest.mark.parametrize(
    "text", ["\0", "</data_0000000000000000>", "\u202e\U000e0041", "{{7*7}}" * 99, "a" * 2_000_000, "1" * 4300]
)
async def test_hostile_texts_are_judged_like_others(asking: Asking, text: str) -> None:
    status, answer = await asking.post({"input": text, "output": text, "context": [text[:1000]], "expected": 10**30})
    assert (status, answer["state"]) == (200, "scored")


def capture(directory: Path, said: dict[str, str]) -> str:
    file = directory / "trace.pb"
    file.write_bytes(request(1, said=said))
    return str(file)


@pytest.mark.parametrize(("said", "status"), [(SAID, 0), (WRONG, 2)])
def test_the_command_judges_files_and_its_status_says_whether_all_passed(
    tmp_path: Path, said: dict[str, str], status: int
) -> None:
    config = hop.settings(tmp_path, {"debug": {}}, judging={"evaluators": ["latency", {"contains": {"texts": ["left"]}}]})
    arguments = ["evaluate", "--file", capture(tmp_path, said), "--config", str(write_config(tmp_path, config))]
    ran = CliRunner().invoke(main, [*arguments, "--evaluator", "contains"])
    assert ran.exit_code == status, ran.output
    assert ("FAIL" in ran.output) == bool(status)
    assert f"trace {1:032x}  scored" in ran.output
    as_json = CliRunner().invoke(main, [*arguments, "--json"])
    assert as_json.exit_code == status
    assert states(json.loads(as_json.stdout)) == {"contains": "scored", "latency": "scored"}


@pytest.mark.parametrize(
    ("expected", "status", "said"),
    [
        ({f"{1:032X}": "It left this morning."}, 0, "exact_match                   1.00 pass"),
        ({f"{1:032x}": "It did not."}, 2, "exact_match                   0.00 FAIL"),
        ({}, 0, "no_content: there is no expected answer"),
        ({f"{2:032x}": "It did not."}, 1, f"'{2:032x}': no such trace is in the files"),
        (["It left."], 1, "expected a JSON object with a value by trace id"),
    ],
)
def test_the_command_takes_what_is_expected(tmp_path: Path, expected: Any, status: int, said: str) -> None:
    config = hop.settings(tmp_path, {"debug": {}}, judging={"evaluators": [{"exact_match": {}}]})
    (tmp_path / "expected.json").write_text(json.dumps(expected))
    arguments = ["evaluate", "--file", capture(tmp_path, SAID), "--config", str(write_config(tmp_path, config))]
    ran = CliRunner().invoke(main, [*arguments, "--expected", str(tmp_path / "expected.json")])
    assert (ran.exit_code, said in ran.output) == (status, True), ran.output


def test_the_command_says_what_is_not_configured(tmp_path: Path) -> None:
    config = hop.settings(tmp_path, {"debug": {}}, judging={"evaluators": ["answered"]})
    arguments = ["evaluate", "--file", capture(tmp_path, SAID), "--config", str(write_config(tmp_path, config))]
    ran = CliRunner().invoke(main, [*arguments, "--evaluator", "tone"])
    assert ran.exit_code == 1
    assert "is not configured (configured: answered)" in ran.output
    assert "Traceback" not in ran.output


def test_files_without_a_trace_are_no_success(tmp_path: Path) -> None:
    config = hop.settings(tmp_path, {"debug": {}}, judging={"evaluators": ["answered"]})
    (tmp_path / "empty.pb").touch()
    arguments = ["evaluate", "--file", str(tmp_path / "empty.pb"), "--config", str(write_config(tmp_path, config))]
    ran = CliRunner().invoke(main, arguments)
    assert (ran.exit_code, "empty.pb: there is no trace to judge" in ran.output) == (1, True), ran.output
