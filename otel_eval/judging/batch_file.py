"""The file of questions that wait for a batch, are in one, or were answered by one, until their job has come to its end.

An SQLite database in rollback-journal mode. A batch is on disk with its questions, and with what is booked for them, before
it is sent; its id at the provider follows. So whatever dies in between, it is known that there may be such a batch, and how
it can be told: its name begins every `custom_id` in it.

States of a question
    waiting   it has not been sent; its body is the question
    sent      it is in a batch; without a job, when that ended before it was answered
    answered  its body is the answer
    failed    its body says why it cannot be answered, by whomever
    direct    the batch came to nothing for it: it is to be asked directly
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

_LOCK_TIMEOUT_S: Final = 10.0
_LATE_S: Final = 86_400.0

_SCHEMA: Final = """
PRAGMA journal_mode = PERSIST;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS batch (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, sent_s REAL NOT NULL, questions INTEGER NOT NULL, provider_id TEXT
);
CREATE TABLE IF NOT EXISTS question (
    number INTEGER PRIMARY KEY AUTOINCREMENT, job TEXT, key BLOB NOT NULL, state TEXT NOT NULL,
    freshness TEXT NOT NULL, due_s REAL NOT NULL, expires_s REAL NOT NULL, model TEXT NOT NULL, baseline INTEGER NOT NULL,
    body BLOB, batch INTEGER REFERENCES batch (number), hour_s INTEGER, nano_usd INTEGER,
    UNIQUE (job, key)
);
CREATE INDEX IF NOT EXISTS question_key ON question (key);
CREATE INDEX IF NOT EXISTS question_state ON question (state);
CREATE INDEX IF NOT EXISTS question_due ON question (due_s) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS question_batch ON question (batch) WHERE state = 'sent';
"""
# With one that is due all of its kind are sent. Of equal ones one is: the others find its verdict among those given before.
_DUE: Final = """
SELECT number, baseline, body FROM question WHERE number IN (
    SELECT min(number) FROM question AS one WHERE state = 'waiting'
        AND freshness IN (SELECT DISTINCT freshness FROM question WHERE state = 'waiting' AND due_s <= ?)
        AND NOT EXISTS (SELECT 1 FROM question AS other WHERE other.key = one.key AND +other.state IN ('sent', 'answered'))
    GROUP BY key ORDER BY min(number) LIMIT ?
)
"""


class Batch(NamedTuple):
    """A batch that was sent, or may have been: `provider_id` is None until the provider has said."""

    number: int
    name: str
    sent_s: float
    questions: int
    provider_id: str | None


class Found(NamedTuple):
    """How a question stands; `since_s` is when it is due, or was sent."""

    state: str
    since_s: float
    baseline: bool
    body: bytes | None


class Question(NamedTuple):
    """A question of a job, or its answer as `body`."""

    job: str
    key: bytes
    freshness: str
    due_s: float
    expires_s: float
    model: str
    baseline: bool
    body: bytes


class Due(NamedTuple):
    """A question that is to be sent."""

    number: int
    baseline: bool
    body: bytes


class Sent(NamedTuple):
    """A question in a batch with what is booked for it."""

    number: int
    model: str
    hour_s: int
    baseline: bool
    nano_usd: int | None


class Outcome(NamedTuple):
    """What has come of a question in a batch."""

    number: int
    state: str
    body: bytes | None


class BatchFile:
    """See the module docstring. Raises sqlite3.Error or OSError when the file cannot be used; one thread at a time."""

    def __init__(self, path: Path, now: float) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        self._db = sqlite3.connect(path, timeout=_LOCK_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            self._db.executescript(_SCHEMA)
            # of jobs that ended in a moment in which nobody could say so
            self._db.execute("DELETE FROM question WHERE state != 'sent' AND expires_s < ?", (now - _LATE_S,))
            self._db.execute("UPDATE batch SET sent_s = ?1 WHERE sent_s > ?1", (now,))  # the clock went back since
        except sqlite3.Error:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def find(self, job: str, key: bytes) -> Found | None:
        """How a job's question stands, None when it is new."""
        query = (
            "SELECT state, coalesce(sent_s, due_s), baseline, body FROM question LEFT JOIN batch ON batch.number = question.batch"
            " WHERE job = ? AND key = ?"
        )
        row = self._db.execute(query, (job, key)).fetchone()
        return None if row is None else Found(row[0], row[1], bool(row[2]), row[3])

    def unanswered(self, job: str) -> list[Found]:
        """The questions of a job that wait or are sent."""
        query = (
            "SELECT state, coalesce(sent_s, due_s), baseline, NULL FROM question LEFT JOIN batch ON batch.number = question.batch"
            " WHERE job = ? AND state IN ('waiting', 'sent')"
        )
        return [Found(state, since, bool(baseline), body) for state, since, baseline, body in self._db.execute(query, (job,))]

    def put(self, question: Question, state: str) -> None:
        """A new question that waits; or one that was `answered` directly."""
        query = (
            "INSERT INTO question (job, key, freshness, due_s, expires_s, model, baseline, body, state)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (job, key) DO UPDATE SET state = excluded.state, body = excluded.body, batch = NULL"
        )
        self._db.execute(query, (*question, state))

    def forget(self, job: str) -> None:
        """The job has come to its end. What is sent is kept, since it will be billed.

        Other jobs with the same questions are to look for the verdicts.
        """
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            equal = "SELECT key FROM question WHERE job = ? AND state = 'answered'"
            self._db.execute(f"DELETE FROM question WHERE +state = 'waiting' AND key IN ({equal})", (job,))  # noqa: S608 - as above
            self._db.execute("DELETE FROM question WHERE job = ? AND state != 'sent'", (job,))
            self._db.execute("UPDATE question SET job = NULL WHERE job = ?", (job,))

    def due(self, now: float, most: int) -> list[Due]:
        """Questions that are to be sent, the oldest first."""
        any_due = "SELECT 1 FROM question INDEXED BY question_due WHERE state = 'waiting' AND due_s <= ? LIMIT 1"
        if self._db.execute(any_due, (now,)).fetchone() is None:
            return []
        return [Due(number, bool(baseline), body) for number, baseline, body in self._db.execute(_DUE, (now, most))]

    def shift(self, back_s: float) -> None:
        """The clock went back: what has to wait waits as long as it still had to, and what was sent is as old as it was."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("UPDATE question SET due_s = due_s - ? WHERE state = 'waiting'", (back_s,))
            self._db.execute("UPDATE batch SET sent_s = sent_s - ?", (back_s,))

    def counts(self) -> dict[str, int]:
        """How many questions there are by state."""
        return dict(self._db.execute("SELECT state, count(*) FROM question GROUP BY state"))

    def begin(self, name: str, now: float, booked: Sequence[tuple[int, int, int | None]]) -> Batch:
        """A batch of these questions is about to be sent: each with its number, and the hour and nano-USD that are booked."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            row = (name, now, len(booked))
            number = self._db.execute("INSERT INTO batch (name, sent_s, questions) VALUES (?, ?, ?)", row).lastrowid or 0
            changes = [(number, hour_s, nano, question) for question, hour_s, nano in booked]
            query = "UPDATE question SET state = 'sent', batch = ?, hour_s = ?, nano_usd = ? WHERE number = ?"
            self._db.executemany(query, changes)
        return Batch(number, name, now, len(booked), None)

    def confirm(self, batch: int, provider_id: str) -> None:
        """The provider has it; the questions themselves are not needed any more."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("UPDATE batch SET provider_id = ? WHERE number = ?", (provider_id, batch))
            self._db.execute("UPDATE question SET body = NULL WHERE batch = ?", (batch,))

    def undo(self, batch: int) -> None:
        """It was not sent: its questions wait again."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("UPDATE question SET state = 'waiting', batch = NULL WHERE batch = ?", (batch,))
            self._end(batch)

    def finish(self, batch: int, outcomes: Iterable[Outcome]) -> None:
        """What has come of each of its questions; the batch is over."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            query = "UPDATE question SET state = ?, body = ?, batch = NULL WHERE number = ?"
            self._db.executemany(query, [(one.state, one.body, one.number) for one in outcomes])
            self._end(batch)

    def _end(self, batch: int) -> None:
        self._db.execute("DELETE FROM question WHERE job IS NULL AND batch IS NULL")
        self._db.execute("DELETE FROM batch WHERE number = ?", (batch,))

    def batches(self) -> list[Batch]:
        """All that are not over."""
        return [Batch(*row) for row in self._db.execute("SELECT number, name, sent_s, questions, provider_id FROM batch")]

    def sent(self, batch: int) -> list[Sent]:
        """The questions in a batch."""
        query = "SELECT number, model, hour_s, baseline, nano_usd FROM question WHERE batch = ? AND state = 'sent'"
        rows = self._db.execute(query, (batch,))
        return [Sent(number, model, hour_s, bool(baseline), nano) for number, model, hour_s, baseline, nano in rows]
