"""`otel-eval inspect`, as a user calls it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from otel_eval.cli import main
from tests.spans import Made, log, log_request, span, trace_request

CAPTURES = Path(__file__).parent / "captures"
CHAT = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}


def inspect(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["inspect", *map(str, arguments)])


def file_of(directory: Path, *items: Made) -> Path:
    file = directory / "trace.pb"
    file.write_bytes(trace_request(items))
    return file


@pytest.mark.parametrize("file", sorted(CAPTURES.glob("*.pb")), ids=lambda file: file.name)
def test_every_capture_is_shown_as_a_tree(file: Path) -> None:
    if file.name.endswith(".logs.pb"):
        result = inspect(file.with_name(file.name.replace(".logs.pb", ".pb")), file)
    else:
        result = inspect(file)
    assert result.exit_code == 0, result.output
    assert result.output.startswith("trace ")
    assert "Traceback" not in result.output


def test_a_person_sees_who_said_what_and_which_tool_was_used() -> None:
    output = inspect(CAPTURES / "openinference__anthropic__tool_roundtrip.pb").output
    for part in (
        "user  What is the weather in Paris?",
        "agent weather_agent",
        "model claude-sonnet-4-5",
        "assistant  Let me check the weather.",
        "tool get_weather(city=Paris)",
        '→ {"conditions": "rain", "temp_c": 14}',
        "assistant  It is rainy in Paris, 14 degrees Celsius.",
        "tokens 33 in (8 cached), 17 out",
    ):
        assert part in output


def test_a_person_sees_what_went_wrong() -> None:
    output = inspect(CAPTURES / "pydantic_ai__openai__tool_exception.pb").output
    assert "signal tool_error" in output
    assert "✗ RuntimeError: upstream weather API timed out" in output


EVIL = "\x1b[31mred\x1b]0;title\x07\x9b2J\u202etxt\u2028[bold]x[/bold]\x00"


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_text_from_a_capture_cannot_steer_the_terminal(tmp_path: Path, options: list[str]) -> None:
    messages = json.dumps([{"role": EVIL, "content": EVIL}, {"role": "user", "content": EVIL}])
    tool = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": EVIL,
        "gen_ai.tool.call.arguments": {EVIL: EVIL},
        "gen_ai.tool.call.result": EVIL,
    }
    file = file_of(
        tmp_path,
        span(
            {"gen_ai.operation.name": "invoke_agent", "session.id": EVIL, "user.id": EVIL},
            name=EVIL,
            identity=1,
            resource={"service.name": EVIL},
        ),
        span(
            {**CHAT, "gen_ai.input.messages": messages, "gen_ai.response.model": EVIL, "gen_ai.system_instructions": EVIL},
            identity=2,
            parent=1,
            failed=True,
            message=EVIL,
        ),
        span(tool, identity=3, parent=1, failed=True, message=EVIL),
        span(
            {"openinference.span.kind": "RETRIEVER", "output.value": json.dumps([{"content": EVIL}])},
            name=EVIL,
            identity=4,
            parent=1,
        ),
        span(
            {"logfire.span_type": "annotation", "logfire.feedback.name": EVIL, EVIL: EVIL, "logfire.feedback.comment": EVIL},
            identity=5,
            parent=1,
        ),
        span(
            {
                "annotations.0.annotation.name": EVIL,
                "annotations.0.annotation.label": EVIL,
                "annotations.0.annotation.explanation": EVIL,
            },
            identity=6,
            parent=1,
        ),
    )
    result = inspect(file, *options)
    assert result.exit_code == 0, result.output
    assert not {character for character in result.output if ord(character) < 32 or 0x7F <= ord(character) < 0xA0} - {"\n"}
    assert not {"\u202e", "\u2028"} & set(result.output)
    if options:
        assert json.loads(result.output)["traces"][0]["session_id"] == EVIL
    else:
        assert "[bold]x[/bold]" in result.output


def test_spans_and_logs_of_several_files_are_joined(tmp_path: Path) -> None:
    spans = file_of(tmp_path, span(CHAT))
    logs = tmp_path / "anything"
    logs.write_bytes(log_request([log("gen_ai.user.message", body={"content": "Hi"})]))
    (trace,) = json.loads(inspect("--json", logs, spans).output)["traces"]
    assert trace["user_input"] == "Hi"


def test_one_request_a_line_is_read(tmp_path: Path) -> None:
    request = json.loads((CAPTURES / "otlp_json__vercel_ai_v7__chat.otlp.json").read_text())
    file = tmp_path / "lines.json"
    file.write_text(f"{json.dumps(request)}\n{json.dumps(request)}\n")
    (trace,) = json.loads(inspect("--json", file).output)["traces"]
    assert trace["spans"] == 3


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.pb", b"\xff\xff\xff", "a.pb: not an OTLP request"),
        ("a.json", b'{"resourceSpans": 3}', "a.json: not an OTLP/JSON traces request"),
        ("a.json", b'{"spans": []}', "expected OTLP/JSON with resourceSpans or resourceLogs"),
        ("a.json", b"{", "a.json: not JSON"),
        ("a.json", b"{" * 10_000, "a.json: not JSON"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    (tmp_path / name).write_bytes(content)
    result = inspect(tmp_path / name)
    assert result.exit_code == 1
    assert expected in result.output
    assert "Traceback" not in result.output


def test_a_missing_file_and_a_directory_are_named(tmp_path: Path) -> None:
    assert "no such file" in inspect(tmp_path / "none.pb").output
    assert "is a directory" in inspect(tmp_path).output


def test_protobufs_own_json_is_explained() -> None:
    result = inspect(CAPTURES / "openllmetry__openai__chat.json")
    assert result.exit_code == 1
    assert "base64 ids" in result.output


def test_an_empty_request_has_no_traces(tmp_path: Path) -> None:
    assert json.loads(inspect("--json", file_of(tmp_path)).output) == {"traces": []}
    assert inspect(file_of(tmp_path)).output == "no traces\n"


def test_output_can_be_cut_off_by_the_reader(tmp_path: Path) -> None:
    """As with `| head`: no traceback."""
    command = [sys.executable, "-m", "otel_eval", "inspect", "--json", *map(str, CAPTURES.glob("*_openai__*.pb"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()
