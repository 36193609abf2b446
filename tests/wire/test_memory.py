"""No body of the largest size that is let in takes memory out of proportion."""

import subprocess
import sys

import pytest

from tests.wire import hostile

BOUND_MIB = 512
"""Beside the body of 64 MiB itself; measured are 230 for the binary encoding and 450 for JSON."""


@pytest.mark.slow
@pytest.mark.parametrize("group", ["binary", "json"])
def test_hostile_bodies_take_a_bounded_amount_of_memory(group: str) -> None:
    child = subprocess.run([sys.executable, "-m", "tests.wire.hostile", group], capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
    lines = [line.split("\t") for line in child.stdout.splitlines()]
    assert [name for name, _, _ in lines] == list(hostile.BINARY if group == "binary" else hostile.JSON)
    assert max(int(growth) for _, _, growth in lines) < BOUND_MIB, child.stdout
    assert any(outcome == "TooLargeError" for _, outcome, _ in lines)
    assert any("items" in outcome for _, outcome, _ in lines)


def test_hostile_bodies_are_nearly_of_the_largest_size() -> None:
    for _, build in (hostile.BINARY["data points"], hostile.JSON["attributes"]):
        assert 0 <= hostile.SIZE - len(build()) < 1000
