"""What is written of the budget when: bookings at once, what calls give back with the next one or after a second."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio

from otel_eval.judging.budget import Budget, BudgetConfig


@pytest_asyncio.fixture
async def budget(tmp_path: Path) -> AsyncIterator[Budget]:
    made = Budget(tmp_path / "budget.sqlite3", BudgetConfig())
    yield made
    await made.close()


def written(tmp_path: Path) -> float:
    """USD in the file, as another process sees them."""
    with closing(sqlite3.connect(tmp_path / "budget.sqlite3")) as database:
        return float(database.execute("SELECT coalesce(sum(nano_usd), 0) FROM booked").fetchone()[0]) / 1e9


async def test_what_a_call_gives_back_is_written_with_the_next_booking(budget: Budget, tmp_path: Path) -> None:
    first = await budget.reserve(0.5, baseline=True)
    budget.settle(first, 0.1)
    await asyncio.sleep(0.2)
    assert written(tmp_path) == 0.5
    await budget.reserve(0.2, baseline=True)
    assert written(tmp_path) == pytest.approx(0.3)


async def test_without_a_next_booking_it_is_written_soon(budget: Budget, tmp_path: Path) -> None:
    for settled in (0.1, 0.3):
        budget.settle(await budget.reserve(0.5, baseline=True), 0.1)
        budget.release(await budget.reserve(0.5, baseline=True))
        budget.settle(await budget.reserve(0.5, baseline=True), settled - 0.1)
    async with asyncio.timeout(10):
        while written(tmp_path) > 0.41:
            await asyncio.sleep(0.1)
    assert written(tmp_path) == pytest.approx(0.4)


async def test_what_comes_back_while_the_file_is_written_is_not_forgotten(budget: Budget, tmp_path: Path) -> None:
    first = await budget.reserve(0.5, baseline=True)
    second = asyncio.create_task(budget.reserve(0.5, baseline=True))
    await asyncio.sleep(0)
    budget.settle(first, 0.1)
    await second
    async with asyncio.timeout(10):
        while written(tmp_path) > 0.61:
            await asyncio.sleep(0.1)
    assert written(tmp_path) == pytest.approx(0.6)


async def test_what_was_spent_over_the_worst_case_is_written_at_once(budget: Budget, tmp_path: Path) -> None:
    budget.settle(await budget.reserve(0.1, baseline=True), 0.9)
    await asyncio.sleep(0.3)
    assert written(tmp_path) == 0.9


async def test_closing_writes_what_waits(tmp_path: Path) -> None:
    budget = Budget(tmp_path / "budget.sqlite3", BudgetConfig())
    budget.settle(await budget.reserve(0.5, baseline=True), 0.1)
    await budget.close()
    assert written(tmp_path) == 0.1
