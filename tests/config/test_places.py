"""What a part of the program says of its settings is said with their line, though the part does not know the file."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from otel_eval.cli import main

DEBUG = "exporters: {debug: {}}\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("exporters:\n  otlp:\n    endpoint: ftp://a:1\n", "c.yaml:3: exporters.otlp.endpoint: 'ftp://a:1': expected"),
        ("exporters:\n  otlp/a.b:\n    endpoint: ftp://a:1\n", "c.yaml:3: exporters.otlp/a.b.endpoint: 'ftp://a:1'"),
        (
            "exporters:\n  otlp_http:\n    endpoint: http://localhost:4318\n",
            "c.yaml:3: exporters.otlp_http.endpoint: localhost:4318",
        ),
        (DEBUG + "sampling:\n  signals:\n    thumb_down: 1\n", "c.yaml:4: sampling.signals.thumb_down: unknown signal"),
        (DEBUG + "judging:\n  evaluators:\n  - answered\n  - answred\n", "c.yaml:5: judging.evaluators.[1]: no evaluator"),
        (DEBUG + "judging:\n  evaluators:\n  - latency:\n      maxx: 5s\n", "c.yaml:5: judging.evaluators.[0].latency.maxx: unk"),
        (DEBUG + "judging:\n  evaluators: [answered, answered]\n", "c.yaml:3: judging.evaluators: answered is there twice"),
    ],
)
@pytest.mark.parametrize("command", ["validate", "run"])
def test_the_line_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, text: str, says: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(text)

    result = CliRunner().invoke(main, [command, "--config", "c.yaml"])

    assert result.exit_code == 1
    assert f"otel-eval: {says}" in result.stderr
    assert "problem  configuration" in (told := CliRunner().invoke(main, ["doctor", "--config", "c.yaml"]).output)
    assert says in told


def test_a_setting_of_the_command_line_is_told_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    line = ["validate", "--set", "exporters={debug: {}}", "--set", "judging.evaluators=[answred]"]
    assert "otel-eval: --set: judging.evaluators.[0]: no evaluator" in CliRunner().invoke(main, line).stderr
