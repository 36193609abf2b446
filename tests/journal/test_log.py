"""One log: what the random sequences of test_model.py reach seldom or never."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from otel_eval.errors import RetryableError, TooLargeError
from otel_eval.journal import Log, Reader
from otel_eval.journal.budget import DiskBudget
from otel_eval.journal.clock import JournalClock
from otel_eval.journal.cursor import SLOT_BYTES
from otel_eval.journal.record import HEADER_BYTES, encode_header

KIB, MIB = 1 << 10, 1 << 20
Open = Callable[..., Log]


@pytest.fixture
def open_log(tmp_path: Path) -> Open:
    """Open the log in `tmp_path/log`; every read comes from the files, and with `keep` nothing is deleted."""

    def open_it(limit: int = 200 * MIB, segment_bytes: int = 4 * KIB, recent_bytes: int = 0, keep: bool = True) -> Log:
        log = Log(tmp_path / "log", DiskBudget(limit), segment_bytes, JournalClock(), recent_bytes)
        if keep:
            log.holders.append(lambda: log.start)
        return log

    return open_it


def record(body: bytes, items: int = 1) -> bytes:
    return encode_header(body, items, 1) + body


def bodies(log: Log, max_bytes: int = 10 * KIB) -> list[bytes]:
    """Everything that can be read, from the start."""
    found, position = [], log.start
    while position < log.end:
        chunk = log.read(position, max_bytes)
        assert chunk.end > position
        found += [bytes(read.body) for read in chunk.records]
        position = chunk.end
    return found


def files(log_directory: Path) -> list[Path]:
    return sorted((log_directory / "log").iterdir())


@pytest.mark.parametrize("recent_bytes", [0, 1000 * MIB])
def test_a_record_of_64_mib_comes_back_whole(open_log: Open, recent_bytes: int) -> None:
    log = open_log(segment_bytes=16 * MIB, recent_bytes=recent_bytes)
    large = os.urandom(MIB) * 64
    for body in (b"before", large, b"behind"):
        log.append(body, 1)
    position = log.start
    for body in (b"before", large, b"behind"):
        (read,), position = log.read(position, 100)
        assert bytes(read.body) == body
    log.close()
    assert bodies(open_log(segment_bytes=16 * MIB)) == [b"before", large, b"behind"]


def test_a_record_larger_than_a_segment_stands_alone_in_one(open_log: Open, tmp_path: Path) -> None:
    log = open_log()
    for size in (10, 9000, 10):
        log.append(bytes(size), 1)
    assert [file.stat().st_size for file in files(tmp_path)] == [10 + HEADER_BYTES, 9000 + HEADER_BYTES, 10 + HEADER_BYTES]


def test_records_inside_an_unfinished_record_do_not_come_to_life(open_log: Open, tmp_path: Path) -> None:
    log = open_log()
    log.append(b"good", 1)
    end = log.end
    log.close()
    torn = record(record(b"evil") * 20)
    with open(files(tmp_path)[0], "ab") as file:
        file.write(torn[:-1])
    log = open_log()
    assert (log.end, bodies(log)) == (end, [b"good"])


def test_records_inside_a_record_cut_short_in_an_older_segment_do_not_come_to_life(open_log: Open, tmp_path: Path) -> None:
    log = open_log(segment_bytes=100)
    log.append(record(b"evil") * 20, 1)
    log.append(b"good", 1)
    log.close()
    os.truncate(files(tmp_path)[0], 500)
    log = open_log(segment_bytes=100)
    assert bodies(log) == [b"good"]
    assert log.damage.value == 2  # what is left of the record, and what is missing


def test_an_older_segment_that_is_empty_is_reported_and_passed(open_log: Open, tmp_path: Path) -> None:
    log = open_log(segment_bytes=100)
    for body in (b"1" * 90, b"2" * 90, b"3" * 90, b"4" * 90):
        log.append(body, 1)
    log.close()
    for file in files(tmp_path)[1:3]:
        os.truncate(file, 0)
    log = open_log(segment_bytes=100)
    assert bodies(log) == [b"1" * 90, b"4" * 90]
    assert log.damage.value >= 1


def test_a_damaged_header_costs_one_record(open_log: Open, tmp_path: Path) -> None:
    log = open_log(segment_bytes=5 * MIB)
    sent = [bytes([number]) * (MIB + number) for number in range(4)]
    positions = [log.append(body, 1).position for body in sent]
    with open(files(tmp_path)[0], "r+b") as file:
        file.seek(positions[1] + 10)
        file.write(b"\xff")
    assert bodies(log) == [sent[0], sent[2], sent[3]]
    assert log.damage.value == 1


@pytest.mark.parametrize("beside", [-33, -32, -31, -16, -2, -1, 0, 1, 31, 32])
def test_the_next_header_is_found_where_two_steps_of_the_search_meet(open_log: Open, tmp_path: Path, beside: int) -> None:
    log = open_log(segment_bytes=5 * MIB)
    log.append(bytes(MIB + 1 + beside - HEADER_BYTES), 1)
    log.append(b"next", 1)
    with open(files(tmp_path)[0], "r+b") as file:
        file.write(b"\xff")
    assert bodies(log) == [b"next"]
    assert log.damage.value == 1


@pytest.mark.parametrize("recent_bytes", [0, MIB])
def test_a_read_gives_as_many_records_as_fit_or_one(open_log: Open, recent_bytes: int) -> None:
    log = open_log(recent_bytes=recent_bytes)
    positions = [log.append(bytes(100 - HEADER_BYTES), number).position for number in range(5)]
    for start in range(5):
        for max_bytes in range(0, 700, 50):
            chunk = log.read(positions[start], max_bytes)
            count = max(1, min(max_bytes // 100, 5 - start))
            assert [record.items for record in chunk.records] == list(range(start, start + count))
            assert chunk.end == (start + count) * 100
    assert log.read(log.end, 1000) == ([], log.end)


def test_files_that_are_none_of_ours_are_left_alone(open_log: Open, tmp_path: Path) -> None:
    log = open_log()
    log.append(b"good", 1)
    log.close()
    foreign = [tmp_path / "log" / name for name in ("backup.log", "-0000000000000000001.log", "1.log", "notes.txt")]
    for file in foreign:
        file.write_bytes(record(b"foreign"))
    assert bodies(open_log()) == [b"good"]
    assert all(file.exists() for file in foreign)


def test_a_cursor_beyond_the_end_is_moved_to_the_end(open_log: Open, tmp_path: Path) -> None:
    log = open_log()
    log.append(b"lost in a power failure", 1)
    reader = Reader(log, tmp_path / "cursor")
    reader.advance(log.end)
    reader.close()
    log.close()
    os.truncate(files(tmp_path)[0], 0)
    log = open_log()
    reader = Reader(log, tmp_path / "cursor")
    assert reader.position == log.end == 0
    log.append(b"new", 1)
    reader.close()
    assert Reader(log, tmp_path / "cursor").position == 0


def test_a_cursor_that_was_beyond_the_end_does_not_go_back_there_when_a_later_write_is_torn(
    open_log: Open, tmp_path: Path
) -> None:
    log = open_log()
    log.append(b"lost in a power failure", 1)
    reader = Reader(log, tmp_path / "cursor")
    for _ in range(2):  # both slots
        reader.advance(log.end)
    reader.close()
    log.close()
    os.truncate(files(tmp_path)[0], 0)
    log = open_log()
    Reader(log, tmp_path / "cursor").close()
    for _ in range(10):
        log.append(b"new", 1)
    whole = (tmp_path / "cursor").read_bytes()
    for slot in (0, SLOT_BYTES):
        (tmp_path / "cursor").write_bytes(whole[:slot] + bytes(SLOT_BYTES) + whole[slot + SLOT_BYTES :])
        assert Reader(log, tmp_path / "cursor").position == 0


def test_what_stands_behind_the_end_of_an_older_segment_was_never_acknowledged(open_log: Open, tmp_path: Path) -> None:
    log = open_log(segment_bytes=100)
    for body in (b"1" * 90, b"2" * 90):
        log.append(body, 1)
    log.close()
    with open(files(tmp_path)[0], "ab") as file:
        file.write(record(b"refused, and could not be cut off"))
    log = open_log(segment_bytes=100)
    assert bodies(log) == [b"1" * 90, b"2" * 90]
    assert log.damage.value == 0


@pytest.mark.parametrize("content", [b"", b"\0" * 48, b"\xff" * 48, b"short", b"\xff" * 4096])
def test_a_cursor_file_without_a_valid_slot_starts_at_the_oldest_record(open_log: Open, tmp_path: Path, content: bytes) -> None:
    log = open_log()
    log.append(b"a", 1)
    (tmp_path / "cursor").write_bytes(content)
    reader = Reader(log, tmp_path / "cursor")
    assert reader.position == log.start
    reader.advance(log.end)
    reader.close()
    assert Reader(log, tmp_path / "cursor").position == log.end


def test_positions_go_on_after_everything_was_read_and_deleted(open_log: Open, tmp_path: Path) -> None:
    log = open_log(limit=1000, segment_bytes=200, keep=False)
    reader = Reader(log, tmp_path / "cursor")
    for number in range(20):
        assert log.append(bytes(900), 1).position == reader.position == number * 932
        reader.advance(log.end)
    reader.close()
    log.close()
    log = open_log(limit=1000, segment_bytes=200, keep=False)
    assert log.end == 20 * 932
    assert Reader(log, tmp_path / "cursor").position == log.end


def test_a_small_budget_is_free_again_once_everything_was_read(open_log: Open, tmp_path: Path) -> None:
    """One segment stays on disk after reading; it must not keep the next large record out for ever."""
    log = open_log(limit=1000, segment_bytes=900, keep=False)
    reader = Reader(log, tmp_path / "cursor")
    log.append(bytes(600), 1)
    before = files(tmp_path)
    with pytest.raises(RetryableError):
        log.append(bytes(600), 1)
    assert files(tmp_path) == before
    reader.advance(log.end)
    log.append(bytes(600), 1)


def test_logs_that_share_a_budget_make_room_for_each_other(tmp_path: Path) -> None:
    budget = DiskBudget(1000)
    first, second = (Log(tmp_path / name, budget, 900, JournalClock()) for name in ("first", "second"))
    reader = Reader(first, tmp_path / "cursor")
    first.append(bytes(600), 1)
    with pytest.raises(RetryableError):
        second.append(bytes(600), 1)
    reader.advance(first.end)
    second.append(bytes(600), 1)
    assert budget.used == 632


def test_what_never_fits_is_refused_for_good(open_log: Open) -> None:
    log = open_log(limit=1000)
    with pytest.raises(TooLargeError, match="1000 bytes"):
        log.append(bytes(1000 - HEADER_BYTES + 1), 1)
    log.append(bytes(1000 - HEADER_BYTES), 1)


def test_a_holder_without_a_need_holds_nothing(open_log: Open, tmp_path: Path) -> None:
    log = open_log(segment_bytes=100, keep=False)
    reader = Reader(log, tmp_path / "cursor")
    log.holders.append(lambda: None)
    for _ in range(5):
        log.append(bytes(90), 1)
    reader.advance(log.end)
    assert len(files(tmp_path)) == 1
    assert log.end - log.start == 90 + HEADER_BYTES


async def test_waiters_wake_when_their_position_is_passed_and_are_forgotten_when_they_gave_up(open_log: Open) -> None:
    log = open_log()
    early, late = (asyncio.create_task(log.wait_beyond(position)) for position in (0, 100))
    for _ in range(50):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await log.wait_beyond(10**9)
    log.append(b"x", 1)
    await asyncio.wait_for(early, 5)
    assert not late.done()
    assert len(log._waiting) == 1
    log.wake()
    await asyncio.wait_for(late, 5)


def test_tiny_records_are_forgotten_by_their_true_size(open_log: Open) -> None:
    log = open_log(recent_bytes=10 * KIB)
    for _ in range(1000):
        log.append(b"x", 1)
    assert len(log._recent) <= 10 * KIB // 256
    assert bodies(log) == [b"x"] * 1000
