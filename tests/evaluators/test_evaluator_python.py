"""A user's own function."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from otel_eval.errors import ConfigError
from otel_eval.evaluators import example
from otel_eval.evaluators.evaluator import NotApplicable, Result, Scope, Subject
from tests.evaluators.scored import made

SUBJECT = Subject(view=example.trace("user: Hi\nassistant: Hello"))
HELD = threading.Event()
MODULE = """
import asyncio, sys, time
from otel_eval.evaluators.evaluator import NotApplicable, Result

def yes(subject): return subject.view.final_output == "Hello"
def share(subject): return 0.25
def huge(subject): return 10 ** 400
def nan(subject): return float("nan")
def label(subject): return "friendly"
def none(subject): return None
def odd(subject): return object()
def not_applicable(subject): return NotApplicable("nothing to say")
def results(subject): return [Result(name="a", value=1.0), Result(name="b", label="x")]
async def later(subject):
    await asyncio.sleep(0.01)
    return True
async def never(subject): await asyncio.sleep(60)
def sleeps(subject): time.sleep(1)
def fails(subject): raise KeyError(subject.view.final_output)
def stops(subject): raise StopIteration
def leaves(subject): sys.exit(1)
async def leaves_later(subject): sys.exit(1)
def cancelled(subject): raise asyncio.CancelledError
async def cancelled_later(subject): raise asyncio.CancelledError
def interrupts(subject): raise KeyboardInterrupt
async def interrupts_later(subject): raise KeyboardInterrupt
def in_vain(subject): raise TimeoutError
async def in_vain_later(subject): raise TimeoutError
async def untidy(subject):
    try: await asyncio.sleep(60)
    finally: raise ValueError
value = 3
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "own_checks.py"
    file.write_text(MODULE)
    (tmp_path / "broken_checks.py").write_text("1 / 0")
    (tmp_path / "leaving_checks.py").write_text("import sys; sys.exit(3)")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "own_checks", raising=False)
    return file


def ask(function: str, **settings: Any) -> Any:
    return asyncio.run(made("python", function=f"own_checks:{function}", **settings).evaluate(SUBJECT))


def test_what_a_function_answers_is_a_score() -> None:
    (yes,) = ask("yes")
    assert (yes.name, yes.value, yes.label, yes.explanation) == ("python", 1.0, "pass", "yes: True")
    (share,) = ask("share")
    assert (share.value, share.passed) == (0.25, None)
    assert [ask("share", threshold=line)[0].passed for line in (0.25, 0.3)] == [True, False]
    assert ask("label") == (Result(name="python", label="friendly"),)
    assert [result.name for result in ask("results")] == ["a", "b"]
    assert ask("later")[0].passed


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("none", "own_checks:none answered nothing"),
        ("odd", "own_checks:odd answered object"),
        ("nan", "own_checks:nan answered float"),
        ("huge", "own_checks:huge answered int"),
        ("not_applicable", "nothing to say"),
        ("fails", "own_checks:fails raised KeyError"),
        ("stops", "own_checks:stops raised StopIteration"),
        ("leaves", "own_checks:leaves raised SystemExit"),
        ("leaves_later", "own_checks:leaves_later raised SystemExit"),
        ("cancelled", "own_checks:cancelled raised CancelledError"),
        ("cancelled_later", "own_checks:cancelled_later raised CancelledError"),
        ("interrupts", "own_checks:interrupts raised KeyboardInterrupt"),
        ("interrupts_later", "own_checks:interrupts_later raised KeyboardInterrupt"),
        ("in_vain", "own_checks:in_vain raised TimeoutError"),
        ("in_vain_later", "own_checks:in_vain_later raised TimeoutError"),
        ("untidy", "own_checks:untidy raised ValueError"),
    ],
)
def test_what_is_no_score_is_not_applicable(function: str, reason: str) -> None:
    assert ask(function, timeout="500ms") == NotApplicable(reason)


@pytest.mark.parametrize("function", ["never", "sleeps"])
def test_a_function_that_takes_too_long_is_given_up(function: str) -> None:
    assert ask(function, timeout="50ms") == NotApplicable(f"own_checks:{function} took longer than 0.05 s")


@pytest.mark.parametrize("function", ["never", "sleeps"])
async def test_who_waits_for_a_function_can_be_cancelled(function: str) -> None:
    waiting = asyncio.create_task(made("python", function=f"own_checks:{function}").evaluate(SUBJECT))
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_function_that_blocks_does_not_stop_the_program() -> None:
    waiting = asyncio.create_task(made("python", function="own_checks:sleeps").evaluate(SUBJECT))
    ticks = 0
    while not waiting.done():
        await asyncio.sleep(0.01)
        ticks += 1
    assert ticks > 10


def hold(subject: Subject) -> bool:
    HELD.wait(20)
    return True


async def test_threads_are_bounded() -> None:
    HELD.clear()
    one = made("python", function=f"{__name__}:hold", timeout="20s")
    waiting = [asyncio.ensure_future(one.evaluate(SUBJECT)) for _ in range(40)]
    await asyncio.sleep(0.2)
    running = sum(thread.name == "evaluator python" for thread in threading.enumerate())
    HELD.set()
    assert all(not isinstance(verdict, NotApplicable) for verdict in await asyncio.gather(*waiting))
    assert running == 16


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("no_such_module:f", "'no_such_module:f' cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        ("own_checks:no_such", "cannot be imported: AttributeError"),
        ("own_checks.yes", "expected an import path such as my_package.checks:is_polite, got 'own_checks.yes'"),
        ("own_checks:value", "is no function but a int"),
        ("broken_checks:f", "cannot be imported: ZeroDivisionError: division by zero"),
        ("leaving_checks:f", "cannot be imported: SystemExit: 3"),
        ("", "expected an import path"),
        (":", "cannot be imported"),
    ],
)
def test_what_cannot_be_imported_is_said_plainly(function: str, says: str) -> None:
    with pytest.raises(ConfigError, match=r"^c\.yaml: python: function: ") as raised:
        made("python", function=function)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_version_is_that_of_the_file_and_the_scope_a_setting(module: Path) -> None:
    first = made("python", function="own_checks:yes")
    assert made("python", function="own_checks:yes").version == first.version
    module.write_text(MODULE + "\n")
    assert made("python", function="own_checks:yes").version != first.version
    assert made("python", function="own_checks:yes", scope="session").scope is Scope.SESSION


def test_nothing_is_left_running() -> None:
    HELD.set()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(thread.name == "evaluator python" for thread in threading.enumerate()):
        time.sleep(0.05)
    assert not [thread for thread in threading.enumerate() if thread.name == "evaluator python"]
