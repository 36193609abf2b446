"""Captures of real SDKs: the view says what is known of each."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from otel_eval.cli import main

CAPTURES = Path(__file__).parent / "captures"
MANIFEST: dict[str, dict[str, Any]] = json.loads((CAPTURES / "manifest.json").read_text())


def inspected(name: str) -> list[dict[str, Any]]:
    files = [str(CAPTURES / f"{name}{end}") for end in (".pb", ".logs.pb") if (CAPTURES / f"{name}{end}").exists()]
    result = CliRunner().invoke(main, ["inspect", "--json", *files], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    traces: list[dict[str, Any]] = json.loads(result.output)["traces"]
    return traces


@pytest.mark.parametrize("name", MANIFEST)
def test_a_capture_is_read_as_its_manifest_says(name: str) -> None:
    known, traces = MANIFEST[name], inspected(name)
    for field in ("user_input", "final_output", "system_prompt", "session_id", "user_id"):
        if field in known:  # the last turn's, where a capture holds several
            assert [trace[field] for trace in traces if trace[field] is not None][-1] == known[field]
    assert sum(trace["spans"] for trace in traces) == known["spans"]
    assert sum(len(trace["model_calls"]) for trace in traces) == known.get("model_calls", 0)
    if "tool_calls" in known:
        tools = [{"name": tool["name"], "arguments": tool["arguments"]} for trace in traces for tool in trace["tool_calls"]]
        assert tools == known["tool_calls"]
    if "retrieved_documents" in known:
        assert [document["content"] for trace in traces for document in trace["retrieved_documents"]] == known[
            "retrieved_documents"
        ]
    assert {signal for trace in traces for signal in trace["signals"]} == set(known.get("signals", ()))
    if "error" in known:
        said = [f"{error['category']} {error['type']} {error['message']}" for trace in traces for error in trace["errors"]]
        assert any(known["error"] in text for text in said)


@pytest.mark.parametrize("name", [name for name, known in MANIFEST.items() if known.get("model_calls")])
def test_the_tokens_of_each_call_are_counted_once(name: str) -> None:
    """What the model server of the captures gave for each call, by the API; OpenLLMetry counts 18 while streaming."""
    for trace in inspected(name):
        for call in trace["model_calls"]:
            usage = call["usage"]
            if call["error"] is None:
                assert (usage["input_tokens"], usage["output_tokens"]) in {(31, 14), (33, 17), (33, 18), (33, 11), (21, 12)}
                assert usage["cache_read_input_tokens"] in {None, 0, 4, 8}
        total = sum(call["usage"]["input_tokens"] or 0 for call in trace["model_calls"])
        assert (trace["usage"]["input_tokens"] or 0) == total


def test_the_json_form_reads_like_the_binary_one() -> None:
    runner = CliRunner()
    outputs = [
        runner.invoke(main, ["inspect", "--json", str(CAPTURES / f"otlp_json__vercel_ai_v7__chat{end}")]).output
        for end in (".pb", ".otlp.json")
    ]
    assert json.loads(outputs[0]) == json.loads(outputs[1])
    assert len(json.loads(outputs[0])["traces"]) == 1
