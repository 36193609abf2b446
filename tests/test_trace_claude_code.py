"""Claude Code's log records beside its spans."""

from otel_eval.sampling.signals import detect
from tests.spans import log, span, view


def test_claude_codes_logs_belong_to_the_request_and_tool_that_they_name() -> None:
    found = view(
        span({"span.type": "interaction", "user_prompt": "Hi"}, name="claude_code.interaction", identity=1),
        span(
            {"span.type": "llm_request", "request_id": "q1", "model": "m"}, name="claude_code.llm_request", identity=2, parent=1
        ),
        span(
            {"span.type": "tool", "tool_name": "Bash", "full_command": "ls", "tool_use_id": "u1"},
            name="claude_code.tool",
            identity=3,
            parent=1,
            start_ms=5,
        ),
        span(
            {"span.type": "tool.execution", "success": False}, name="claude_code.tool.execution", identity=4, parent=3, start_ms=6
        ),
        log("", {"event.name": "assistant_response", "request_id": "q1", "response": "Done"}),
        log("", {"event.name": "api_request", "request_id": "q1", "cost_usd": "0.5"}),
        log(
            "",
            {
                "event.name": "tool_result",
                "tool_use_id": "u1",
                "success": "false",
                "error": "no such file",
                "tool_input": '{"command": "ls"}',
            },
        ),
        log("", {"event.name": "tool_decision", "tool_name": "Bash", "decision": "reject", "source": "user_reject"}),
    )
    assert (found.user_input, found.final_output, found.cost_usd) == ("Hi", "Done", 0.5)
    (tool,) = found.tool_calls
    assert (tool.name, tool.arguments, tool.error) == ("Bash", {"command": "ls"}, "no such file")
    assert {"tool_error", "edit"} <= set(detect(found))


def test_a_tool_log_without_an_id_belongs_to_the_tool_that_ran_last() -> None:
    tools = [
        span(
            {"span.type": "tool", "tool_name": "Bash"},
            name="claude_code.tool",
            identity=2 + n,
            parent=1,
            start_ms=n * 100,
            duration_ms=50,
        )
        for n in range(2)
    ]
    failed = log("", {"event.name": "tool_result", "tool_name": "Bash", "success": "false", "error": "boom"}, at_ms=151)
    found = view(span({"span.type": "interaction"}, name="claude_code.interaction", identity=1), *tools, failed)
    assert [tool.error for tool in found.tool_calls] == [None, "boom"]
