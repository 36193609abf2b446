"""Every command in README is one, and answers what is shown below it."""

import asyncio
import importlib.util
import json
import re
import shlex
import sys
from pathlib import Path

import aiohttp
import click
import pytest

from otel_eval import cli
from otel_eval.standin.__main__ import main as standin
from tests.conftest import StartHop
from tests.readme.generate import README
from tests.readme.shown import Shown, in_the_text, shell, transcripts
from tests.sink import Sink

PROJECT = README.parent
OURS = [line for line in shell() if "otel-eval " in line]
OTHERS = [line for line in shell() if line not in OURS]
CURLS = [shown for shown in transcripts() if shown.command.startswith("curl")]
QUICK = [shown for shown in transcripts() if shown not in CURLS]


def arguments(line: str) -> list[str]:
    """What stands behind `otel-eval`."""
    words = [word.replace("…", "") for word in shlex.split(line)]
    return words[words.index("otel-eval") + 1 :]


def test_there_is_something_to_check() -> None:
    assert len(OURS) >= 4
    assert len(in_the_text()) >= 8
    assert len(CURLS) >= 1
    assert len(QUICK) >= 1


@pytest.mark.parametrize("line", [line for line in (*OURS, *in_the_text()) if "pip install" not in line])
def test_every_command_of_ours_can_be_parsed(line: str) -> None:
    command: click.Command = cli.main
    words = arguments(line)
    while isinstance(command, click.Group) and words:
        name, *words = words
        assert name in command.commands, f"there is no command {name}"
        command = command.commands[name]
    if words:
        command.make_context("otel-eval", words)


@pytest.mark.parametrize("line", OTHERS)
def test_every_other_command_is_known(line: str) -> None:
    words = [word for word in shlex.split(line) if "=" not in word]
    match words:
        case ["make", target]:
            assert re.search(rf"^{target}:", (PROJECT / "Makefile").read_text(), re.MULTILINE)
        case ["export"] | ["pip", "install", ".[embedded]"] | ["python", "agent.py"] | ["node", "agent.mjs"] | ["curl", *_]:
            pass  # run by the other tests; pip is left alone
        case _:
            pytest.fail(f"nobody tests {line}")


@pytest.mark.parametrize("line", sorted(set(re.findall(r"python -m ([\w.]+[^`\n]*)", README.read_text()))))
def test_every_module_can_be_run(line: str) -> None:
    module, *words = line.split()
    assert importlib.util.find_spec(f"{module}.__main__")
    if module == "otel_eval.standin":
        standin.make_context(module, words)


@pytest.mark.parametrize("shown", QUICK, ids=lambda shown: shown.command[:40])
async def test_a_command_answers_what_is_shown(tmp_path: Path, shown: Shown) -> None:
    words = [re.sub("^tests/", f"{PROJECT}/tests/", word) for word in arguments(shown.command)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "otel_eval", *words, cwd=tmp_path, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    assert output.decode().startswith(shown.output)


@pytest.mark.parametrize("shown", CURLS, ids=lambda shown: shown.command[:60])
async def test_the_api_answers_what_is_shown(sink: Sink, start_hop: StartHop, shown: Shown) -> None:
    hop = await start_hop({"otlp": {"endpoint": f"127.0.0.1:{sink.grpc_port}", "tls": {"insecure": True}}})
    words = [word.replace(":4320", f":{hop.receivers['api'].port}") for word in shlex.split(shown.command)]
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert json.loads(output) == json.loads(shown.output)


async def test_clickhouse_answers_its_reader(tmp_path: Path, start_hop: StartHop) -> None:
    directory = tmp_path / "clickhouse"
    hop = await start_hop({"clickhouse": {"directory": str(directory)}})
    span = {"traceId": "1" * 32, "spanId": "1" * 16, "name": "chat", "startTimeUnixNano": "1", "endTimeUnixNano": "2"}
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    url = f"http://127.0.0.1:{hop.receivers['http'].port}/v1/traces"
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
        assert response.status == 200
    (line,) = (line for line in OTHERS if "reader.password" in line)
    port = json.loads((directory / "connection.json").read_text())["http_port"]
    line = line.replace("/var/lib/otel-eval/clickhouse", str(directory)).replace(":8123", f":{port}")
    async with asyncio.timeout(20):
        output = b""
        while output != b"1\n":  # the tables are made with the first span
            process = await asyncio.create_subprocess_shell(line, stdout=asyncio.subprocess.PIPE)
            output, _ = await process.communicate()
            await asyncio.sleep(0.1)
