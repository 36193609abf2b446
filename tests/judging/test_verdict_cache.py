"""Verdicts come back exactly as they were stored, for as long as they are kept, and never too many of them."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_eval.config.values import PositiveDuration
from otel_eval.errors import ConfigError
from otel_eval.evaluators.evaluator import JudgeUse, Result
from otel_eval.judging.cache import CacheConfig, VerdictCache, verdict_key
from tests.judging.quick_disk import quick_directory
from tests.judging.virtual_time import Clock

DAY = 86400
NOON = 1_795_003_200.0
KEY = verdict_key("v1", "an answer")
GOOD = [Result(name="factual_grounding", value=4.0, label="good", passed=True, evidence=("a", "b"), explanation="since")]
Opened = Callable[..., VerdictCache]


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def file() -> Iterator[Path]:
    with quick_directory() as directory:
        yield Path(directory) / "judging" / "verdicts.sqlite3"


@pytest.fixture
def opened(file: Path, clock: Clock) -> Iterator[Opened]:
    caches: list[VerdictCache] = []

    def open_cache(server: str = "", **settings: float) -> VerdictCache:
        config = CacheConfig(**settings)  # type: ignore[arg-type]
        caches.append(VerdictCache(file, config, server, clock))
        return caches[-1]

    yield open_cache
    for cache in caches:
        cache.close()


async def test_a_verdict_comes_back(opened: Opened) -> None:
    cache = opened()
    assert await cache.get(KEY) is None
    await cache.put(KEY, GOOD)
    assert await cache.get(KEY) == tuple(GOOD)


async def test_many_at_once_come_back(opened: Opened) -> None:
    cache = opened()
    keys = [verdict_key("v", str(index)) for index in range(50)]
    await asyncio.gather(*(cache.put(key, [Result(name=str(index))]) for index, key in enumerate(keys)))
    assert [await cache.get(key) for key in keys] == [(Result(name=str(index)),) for index in range(50)]


async def test_what_nobody_waits_for_any_more_is_stored_all_the_same(opened: Opened) -> None:
    cache = opened()
    task = asyncio.create_task(cache.put(KEY, GOOD))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    cache.close()
    assert await opened().get(KEY) == tuple(GOOD)


async def test_another_version_or_content_is_another_verdict(opened: Opened) -> None:
    cache = opened()
    await cache.put(KEY, GOOD)
    for other in (verdict_key("v2", "an answer"), verdict_key("v1", "an answer "), verdict_key("v1a", "n answer")):
        assert await cache.get(other) is None


async def test_what_another_server_said_is_another_verdict(opened: Opened) -> None:
    real, stand_in = opened("https://api.anthropic.com"), opened("http://127.0.0.1:4321")
    await stand_in.put(KEY, GOOD)
    assert await real.get(KEY) is None
    assert await stand_in.get(KEY) == tuple(GOOD)


async def test_it_survives_a_restart(opened: Opened, file: Path) -> None:
    cache = opened()
    await cache.put(KEY, GOOD)
    cache.close()
    assert await opened().get(KEY) == tuple(GOOD)
    assert file.stat().st_mode & 0o777 == 0o600


async def test_it_survives_kill_9(opened: Opened, file: Path) -> None:
    program = (
        "import asyncio, os, pathlib, signal, sys\n"
        "from tests.judging.test_verdict_cache import *\n"
        "asyncio.run(VerdictCache(pathlib.Path(sys.argv[1]), CacheConfig(), '', lambda: NOON).put(KEY, GOOD))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    child = subprocess.run([sys.executable, "-c", program, file], cwd=Path(__file__).parents[2], check=False)
    assert child.returncode == -9
    assert await opened().get(KEY) == tuple(GOOD)


async def test_two_may_use_it_at_once(opened: Opened) -> None:
    first, second = opened(), opened()
    for index in range(20):
        await (first if index % 2 else second).put(verdict_key("v", str(index)), GOOD)
    for index in range(20):
        assert await (second if index % 2 else first).get(verdict_key("v", str(index))) is not None


async def test_a_verdict_is_kept_for_its_time(opened: Opened, clock: Clock, file: Path) -> None:
    cache = opened()
    await cache.put(KEY, GOOD)
    clock.now += 30 * DAY
    assert await cache.get(KEY) is not None
    clock.now += 1
    assert await cache.get(KEY) is None
    cache.close()
    opened()
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("SELECT count(*) FROM verdict").fetchone() == (0,)


async def test_a_verdict_from_the_future_is_none(opened: Opened, clock: Clock) -> None:
    cache = opened(ttl=PositiveDuration(60))
    await cache.put(KEY, GOOD)
    clock.now -= 1000
    assert await cache.get(KEY) is None


async def test_a_newer_verdict_takes_the_place_of_the_older(opened: Opened, clock: Clock) -> None:
    cache = opened()
    await cache.put(KEY, GOOD)
    clock.now += 20 * DAY
    await cache.put(KEY, GOOD[:0])
    clock.now += 20 * DAY
    assert await cache.get(KEY) == ()


async def test_of_too_many_the_oldest_go(opened: Opened) -> None:
    cache = opened(max_entries=10)
    keys = [verdict_key("v", str(index)) for index in range(25)]
    for key in keys:
        await cache.put(key, GOOD)
    assert [await cache.get(key) is not None for key in keys] == [False] * 15 + [True] * 10
    cache.close()
    cache = opened(max_entries=3)
    assert [await cache.get(key) is not None for key in keys] == [False] * 22 + [True] * 3


async def test_the_bytes_are_bounded(opened: Opened, file: Path) -> None:
    cache = opened(max_size_mib=1)
    large = [Result(name="x", explanation="e" * 100_000)]
    keys = [verdict_key("v", str(index)) for index in range(40)]
    for key in keys:
        await cache.put(key, large)
        assert await cache.get(key) is not None
    assert sum([await cache.get(key) is not None for key in keys]) == 10
    assert file.stat().st_size < 1.3 * (1 << 20)
    await cache.put(KEY, [Result(name="x", explanation="e" * (1 << 20))])
    assert await cache.get(KEY) is None
    assert await cache.get(keys[-1]) is not None, "one that never fits drives nobody out"


async def test_a_damaged_file_is_started_anew(opened: Opened, file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(b"this is no database" * 1000)
    cache = opened()
    await cache.put(KEY, GOOD)
    assert await cache.get(KEY) is not None
    for index in range(50):
        await cache.put(verdict_key("v", str(index)), GOOD)
    with open(file, "r+b") as damaged:
        damaged.seek(24)
        damaged.write(b"\0\0\xff\0")  # its count of changes: what SQLite remembers of the file is out of date
        damaged.seek(4096)
        damaged.write(os.urandom(file.stat().st_size - 4096))
    assert await cache.get(KEY) is None
    await cache.put(KEY, GOOD)
    assert await cache.get(KEY) is not None


async def test_damage_behind_the_schema_is_found_at_the_start(opened: Opened, file: Path) -> None:
    cache = opened()
    for index in range(50):
        await cache.put(verdict_key("v", str(index)), GOOD)
    cache.close()
    with closing(sqlite3.connect(file)) as database:
        (page,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'verdict'").fetchone()
    with open(file, "r+b") as damaged:
        damaged.seek((page - 1) * 4096)
        damaged.write(os.urandom(4096))
    cache = opened()
    await cache.put(KEY, GOOD)
    assert await cache.get(KEY) is not None


async def test_one_that_cannot_be_used_for_now_knows_nothing(opened: Opened, file: Path) -> None:
    cache = opened()
    await cache.put(KEY, GOOD)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("ALTER TABLE verdict RENAME TO away")
        assert await cache.get(KEY) is None
        await cache.put(KEY, GOOD)
        other.execute("ALTER TABLE away RENAME TO verdict")
    assert await cache.get(KEY) is not None
    cache.close()
    assert await cache.get(KEY) is None


async def test_what_cannot_be_read_is_judged_again(opened: Opened, file: Path) -> None:
    cache = opened()
    await cache.put(KEY, GOOD)
    for body in (b"", b"\xc1", b"\x91\x80", b"\xa1\xff"):
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("UPDATE verdict SET results = ?", (body,))
        assert await cache.get(KEY) is None


def test_a_place_that_cannot_be_used_is_a_plain_error(file: Path) -> None:
    file.mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"verdicts\.sqlite3: verdicts cannot be kept"):
        VerdictCache(file, CacheConfig())


texts = st.text(st.characters(exclude_categories=()), max_size=30)
numbers = st.none() | st.floats()
uses = st.builds(JudgeUse, model=texts, input_tokens=st.none() | st.integers(0, 2**53), cost_usd=numbers, simulated=st.booleans())
results = st.builds(
    Result,
    name=texts,
    value=numbers,
    label=st.none() | texts,
    passed=st.none() | st.booleans(),
    explanation=texts,
    span_id=st.none() | texts,
    evidence=st.lists(texts, max_size=3).map(tuple),
    judge=st.none() | uses,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(verdict=st.lists(results, max_size=3), content=texts)
async def test_any_verdict_comes_back_exactly_or_not_at_all(opened: Opened, verdict: list[Result], content: str) -> None:
    cache = opened()
    key = verdict_key(repr(verdict), content)  # what another verdict has left under this content's key is not meant
    await cache.put(key, verdict)
    hit = await cache.get(key)
    if hit is None:
        assert "\\ud" in repr(verdict), "only lone surrogates are not stored"
    else:
        assert repr(hit) == repr(tuple(verdict))  # NaN is not equal to itself


@given(texts, texts, texts, texts)
def test_keys_are_equal_for_equal_versions_and_contents_only(version: str, content: str, other: str, another: str) -> None:
    assert (verdict_key(version, content) == verdict_key(other, another)) == ((version, content) == (other, another))
