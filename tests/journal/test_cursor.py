"""A cursor file survives a write that is cut short anywhere."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_eval.journal.cursor import SLOT_BYTES as SLOT
from otel_eval.journal.cursor import Cursor


def stored(file: Path) -> int | None:
    cursor = Cursor(file)
    cursor.close()
    return cursor.position


@settings(max_examples=50, deadline=None)
@given(
    positions=st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=6),
    cut=st.integers(0, SLOT - 1),
    garbage=st.binary(min_size=SLOT, max_size=SLOT),
)
def test_a_torn_write_costs_one_step_back_and_no_more(
    tmp_path_factory: pytest.TempPathFactory, positions: list[int], cut: int, garbage: bytes
) -> None:
    file = tmp_path_factory.mktemp("cursor") / "cursor"
    contents = []
    for position in positions:
        cursor = Cursor(file)
        cursor.store(position)
        cursor.close()
        contents.append(file.read_bytes().ljust(2 * SLOT, b"\0"))
        assert stored(file) == position
    before, after = contents[-2:]
    changed = next(index for index in range(2 * SLOT) if before[index] != after[index]) // SLOT * SLOT
    for torn in (before[changed + cut : changed + SLOT], garbage[cut:], bytes(SLOT - cut)):
        content = after[: changed + cut] + torn + after[changed + SLOT :]
        file.write_bytes(content)
        assert stored(file) == (positions[-1] if content == after else positions[-2])


def test_a_new_cursor_has_no_position(tmp_path: Path) -> None:
    assert stored(tmp_path / "cursor") is None
    assert (tmp_path / "cursor").stat().st_mode & 0o777 == 0o600
