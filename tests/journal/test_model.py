"""The log against a plain list, under random appends, reads, restarts, crashes and damage."""

import random
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from otel_eval.errors import RetryableError, TooLargeError
from otel_eval.journal import Log, Reader
from otel_eval.journal.budget import DiskBudget
from otel_eval.journal.clock import JournalClock
from otel_eval.journal.cursor import SLOT_BYTES
from otel_eval.journal.record import HEADER_BYTES, MAGIC, encode_header
from tests.journal.places import Place, Written

SEGMENT_BYTES = 600
BUDGET = 3000
READERS = ("a", "b", "c")

sizes = st.integers(0, 150) | st.integers(0, 2 * SEGMENT_BYTES) | st.just(BUDGET)
fractions = st.floats(0, 1, exclude_max=True)


class LogMachine(RuleBasedStateMachine):
    """`written` is what must still be there; `places` are the readers. Every read comes from the files."""

    RECENT_BYTES = 0

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.generation = 0
        self.directory = self.root / "0"
        self.written: list[Written] = []
        self.places: dict[str, Place] = {}
        self.bodies = random.Random(0)
        self.open()

    def open(self) -> None:
        self.budget = DiskBudget(BUDGET)
        self.log = Log(self.directory / "log", self.budget, SEGMENT_BYTES, JournalClock(), self.RECENT_BYTES)

    def close(self) -> None:
        self.needed_then = self.needed()
        for place in self.places.values():
            place.reader.close()
        self.log.close()

    def reopen(self) -> None:
        """Open what is on disk now, and expect each reader where it stood, as far as that exists."""
        stored_before = {name: place.stored for name, place in self.places.items()}
        self.open()
        kept = [record for record in self.written if self.log.start <= record.position and record.end <= self.log.end]
        assert all(record.damaged or record.end <= self.needed_then for record in self.written if record not in kept)
        self.written = kept
        for name, stored in stored_before.items():
            self.add_reader(name)
            place = self.places[name]
            position = min(max(stored[-1][0], self.log.start), self.log.end)
            expected = position, tuple(end for end in stored[-1][1] if position < end <= self.log.end)
            assert (place.reader.position, place.reader.ends) == expected
            place.stored = stored if expected == stored[-1] else [expected] * 2

    def add_reader(self, name: str) -> None:
        reader = Reader(self.log, self.directory / f"{name}.cursor")
        self.places[name] = Place(reader, reader.position, [(reader.position, ())] * 2)

    @initialize()
    def first_reader(self) -> None:
        self.add_reader("a")

    @precondition(lambda self: len(self.places) < len(READERS))
    @rule()
    def new_reader(self) -> None:
        name = READERS[len(self.places)]
        self.add_reader(name)
        assert self.places[name].reader.position == self.log.start

    @rule(size=sizes, items=st.integers(0, 2**32 - 1))
    def append(self, size: int, items: int) -> None:
        body = self.bodies.randbytes(size).replace(MAGIC, b"xx")
        end = self.log.end
        total = HEADER_BYTES + size
        if total > BUDGET:
            with pytest.raises(TooLargeError):
                self.log.append(body, items)
        elif self.needed_bytes() + total > BUDGET:
            with pytest.raises(RetryableError):
                self.log.append(body, items)
        else:
            position = self.log.append(body, items).position
            assert position == end
            assert self.log.end == end + total
            self.written.append(Written(position, self.log.end, items, body))
            return
        assert self.log.end == end

    @rule(name=st.sampled_from(READERS), max_bytes=st.integers(0, 2 * SEGMENT_BYTES), exactly=st.integers(0, 3))
    def read(self, name: str, max_bytes: int, exactly: int) -> None:
        """Read some bytes, or just as many as the next records have."""
        place = self.places.get(name)
        if place is not None:
            ends = [record.end for record in self.written if record.position >= place.read_to][:exactly]
            self.check_read(place, ends[-1] - place.read_to if ends else max_bytes)

    @rule(name=st.sampled_from(READERS), part=fractions)
    def advance(self, name: str, part: float) -> None:
        place = self.places.get(name)
        if place is None:
            return
        ends = [record.end for record in self.written if place.reader.position <= record.position < place.read_to]
        if ends:
            self.move(place, ends[int(part * len(ends))])

    @rule(name=st.sampled_from(READERS))
    def read_everything(self, name: str) -> None:
        place = self.places.get(name)
        if place is not None:
            while place.read_to < self.log.end:
                self.check_read(place, SEGMENT_BYTES)
            self.move(place, place.read_to)

    @rule()
    def restart(self) -> None:
        end = self.log.end if not any(record.damaged for record in self.written) else None
        self.close()
        self.reopen()
        assert end in (None, self.log.end)

    @rule(cut=fractions)
    def lose_the_end_of_the_last_segment(self, cut: float) -> None:
        self.crash()
        last = self.files()[-1]
        keep = int(cut * last.stat().st_size)
        with open(last, "r+b") as file:
            file.truncate(keep)
        self.written = [record for record in self.written if record.end <= int(last.stem) + keep]
        self.reopen()

    @rule(garbage=st.binary(min_size=1, max_size=200) | st.sampled_from([b"\0" * 100, MAGIC, MAGIC * 40]))
    def crash_with_garbage_behind(self, garbage: bytes) -> None:
        self.crash()
        with open(self.files()[-1], "ab") as file:
            file.write(garbage)
        self.reopen()

    @rule(part=fractions, size=st.integers(1, 300))
    def crash_in_the_middle_of_a_write(self, part: float, size: int) -> None:
        """What is being written when the process dies is itself a row of records, as a hostile sender may have it."""
        inner = encode_header(b"evil", 1, 1) + b"evil"
        body = inner * (size // len(inner) + 1)
        record = encode_header(body, 1, 1) + body
        self.crash()
        with open(self.files()[-1], "ab") as file:
            file.write(record[: int(part * len(record))])
        self.reopen()

    @precondition(lambda self: any(len(place.stored) > 1 for place in self.places.values()))
    @rule(name=st.sampled_from(READERS), kept=st.integers(0, SLOT_BYTES - 1))
    def crash_while_a_cursor_is_stored(self, name: str, kept: int) -> None:
        place = self.places.get(name)
        if place is None or len(place.stored) < 2:
            return
        self.crash()
        file = self.directory / f"{name}.cursor"
        slots = bytearray(file.read_bytes())
        newest = max((0, SLOT_BYTES), key=lambda offset: int.from_bytes(slots[offset : offset + 8], "little"))
        torn = bytes(byte ^ 0xFF for byte in slots[newest + kept : newest + SLOT_BYTES])
        file.write_bytes(bytes(slots[: newest + kept]) + torn + bytes(slots[newest + SLOT_BYTES :]))
        place.stored = [place.stored[0]]
        self.reopen()

    @precondition(lambda self: self.written and not self.RECENT_BYTES)  # what is in memory does not show it
    @rule(which=fractions, where=fractions, flip=st.integers(1, 255))
    def damage_a_byte(self, which: float, where: float, flip: int) -> None:
        there = [record for record in self.written if record.position >= self.log.start and not record.damaged]
        if not there:
            return
        record = there[int(which * len(there))]
        at = record.position + int(where * (record.end - record.position))
        segment = max((file for file in self.files() if int(file.stem) <= at), key=lambda file: int(file.stem))
        with open(segment, "r+b") as file:
            file.seek(at - int(segment.stem))
            byte = file.read(1)[0]
            file.seek(-1, 1)
            file.write(bytes([byte ^ flip]))
        record.damaged = True

    @precondition(lambda self: len(self.files()) > 1)
    @rule(which=fractions)
    def lose_a_file(self, which: float) -> None:
        self.close()
        files = self.files()
        lost = files[int(which * len(files))]
        first, end = int(lost.stem), int(lost.stem) + lost.stat().st_size
        lost.unlink()
        for record in self.written:
            record.damaged |= first <= record.position < end
        self.reopen()

    @rule(name=st.sampled_from(READERS), which=fractions)
    def freeze(self, name: str, which: float) -> None:
        if (place := self.places.get(name)) is None:
            return
        position, ends = place.stored[-1]
        behind = [record.end for record in self.written if record.end > max(position, *ends, 0)]
        if behind and len(ends) < 3:
            place.reader.freeze(end := behind[int(which * len(behind))])
            place.stored = [*place.stored, (position, (*ends, end))][-2:]

    def crash(self) -> None:
        """Go on in a copy of the directory as it is at this moment, as after kill -9."""
        self.generation += 1
        copy = self.root / str(self.generation)
        shutil.copytree(self.directory, copy)
        self.close()
        shutil.rmtree(self.directory)
        self.directory = copy

    def check_read(self, place: Place, max_bytes: int) -> None:
        """Read on from where the reader is, and compare."""
        start, damage = place.read_to, self.log.damage.value
        chunk = self.log.read(start, max_bytes)
        assert chunk.end > start or start == self.log.end
        span = [record for record in self.written if start <= record.position < chunk.end]
        assert all(record.end <= chunk.end for record in span)
        expected = [(record.position, record.end, record.items, record.body) for record in span if not record.damaged]
        assert [(r.position, r.end, r.items, bytes(r.body)) for r in chunk.records] == expected
        assert len(chunk.records) < 2 or chunk.records[-1].end - chunk.records[0].position <= max_bytes
        behind = next((record for record in self.written if record.position == chunk.end), None)
        if chunk.records and behind and not any(record.damaged for record in (*span, behind)):
            first_of_a_file = any(int(file.stem) == behind.position for file in self.files())
            assert first_of_a_file or behind.end - chunk.records[0].position > max_bytes, "as many as fit"
        assert (self.log.damage.value > damage) == any(record.damaged for record in span)
        place.read_to = chunk.end

    def move(self, place: Place, position: int) -> None:
        place.reader.advance(position)
        ends = tuple(end for end in place.stored[-1][1] if end > position)
        place.stored = [*place.stored, (position, ends)][-2:]
        for file in self.files()[:-1]:
            assert int(file.stem) + file.stat().st_size > self.needed()

    def files(self) -> list[Path]:
        return sorted((self.directory / "log").iterdir())

    def needed(self) -> int:
        return min((place.reader.position for place in self.places.values()), default=self.log.end)

    def needed_bytes(self) -> int:
        """Bytes of the segments that some reader has not passed."""
        ends = ((file.stat().st_size, int(file.stem) + file.stat().st_size) for file in self.files())
        return sum(size for size, end in ends if end > self.needed())

    @invariant()
    def the_budget_counts_what_is_on_disk(self) -> None:
        assert self.budget.used == sum(file.stat().st_size for file in self.files()) <= BUDGET

    @invariant()
    def nothing_unread_is_gone(self) -> None:
        assert self.log.start <= self.needed() <= self.log.end

    def teardown(self) -> None:
        for place in self.places.values():
            while place.read_to < self.log.end:
                self.check_read(place, SEGMENT_BYTES)
        self.close()
        shutil.rmtree(self.root)


class RecentLogMachine(LogMachine):
    """Reads of the newest records come from memory."""

    RECENT_BYTES = 1500


for machine in (LogMachine, RecentLogMachine):
    machine.TestCase.settings = settings(
        max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
test_the_log_behaves_like_a_list = LogMachine.TestCase
test_the_log_with_recent_records_behaves_like_a_list = RecentLogMachine.TestCase
