"""What the embedded queue does to its tables. The caller holds the transaction and says what time it is."""

import secrets
import sqlite3
from collections import deque
from collections.abc import Sequence

import structlog

from otel_eval.errors import RetryableError, TooLargeError
from otel_eval.judging.queue import Claim, Ending, Job, Priority, Stats

RETRY_AFTER_S = 5.0
"""What a refused caller is asked to wait."""

_log = structlog.get_logger(__name__)

_TURNS = (0, 1, 0, 2, 0, 1, 0, 3, 0, 1, 0, 2, 0, 1, 0)
"""Whose turn it is: 8:4:2:1, spread evenly. Without one priority the others keep their ratio."""

_ENDED_AT_ONCE = 256
_ROW_BYTES = 1024
"""About what a job takes on disk beside its body: rows, index entries, and the unused end of the last page."""

_DONE_BYTES = 200
_MAX_DONE = 1_000_000
_REASON_CHARACTERS = 2000


class Jobs:
    """The tables of one queue of `max_bytes`; all times and durations in ns.

    Dead letters, and the ids that were acknowledged less than `remember_ns` ago, may each take a tenth of `max_bytes`;
    then the oldest are deleted.
    """

    def __init__(self, connection: sqlite3.Connection, max_bytes: int, max_crashes: int, remember_ns: int) -> None:
        self._db = connection
        self._max_bytes = max_bytes
        self._max_crashes = max_crashes
        self._remember_ns = remember_ns
        (self._page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        self._turn = 0
        self._done = 0
        self._died = False

    def enqueue(self, jobs: Sequence[Job], now: int) -> int:
        """Insert those that are new; raises RetryableError or TooLargeError before it has changed anything."""
        new: dict[str, Job] = {}
        for job in jobs:
            if job.id not in new and not self._known(job.id, now):
                new[job.id] = job
        self._check_room(sum(len(job.body) + _ROW_BYTES for job in new.values()))
        for job in new.values():
            row = (job.id, int(job.priority), job.trace_id, job.created_ns, job.due_ns, job.expires_at_ns, len(job.body))
            inserted = self._db.execute(
                "INSERT INTO job (id, priority, trace_id, created_ns, due_ns, expires_at_ns, size) VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )
            self._db.execute("INSERT INTO body VALUES (?, ?)", (inserted.lastrowid, job.body))
        return len(new)

    def _known(self, job_id: str, now: int) -> bool:
        query = "SELECT 1 FROM job WHERE id = ?1 UNION ALL SELECT 1 FROM done WHERE id = ?1 AND done_ns > ?2"
        return self._db.execute(query, (job_id, now - self._remember_ns)).fetchone() is not None

    def _check_room(self, size: int) -> None:
        if size > self._max_bytes // 2:
            raise TooLargeError(f"{size} bytes at once are more than half of what the judge queue may hold ({self._max_bytes})")
        used = self._used_bytes()
        if used + size > self._max_bytes:
            raise RetryableError(f"the judge queue is full: {used / 2**20:.1f} of {self._max_bytes >> 20} MiB", RETRY_AFTER_S)

    def _used_bytes(self) -> int:
        (pages,) = self._db.execute("PRAGMA page_count").fetchone()
        (free,) = self._db.execute("PRAGMA freelist_count").fetchone()
        return int((pages - free) * self._page_bytes)

    def claim(self, n: int, lease: int, now: int) -> list[Claim]:
        """Lease what is due, by turns; see Queue.claim."""
        ended = self._db.execute(
            "SELECT seq FROM job WHERE died_ns IS NULL AND expires_at_ns <= ? AND due_ns <= ? ORDER BY expires_at_ns LIMIT ?",
            (now, now, _ENDED_AT_ONCE),
        ).fetchall()
        claims = [self._lease(seq, lease, now) for (seq,) in ended]
        due: dict[int, deque[int]] = {}
        in_vain = 0
        while n > 0 and in_vain < len(_TURNS):
            priority = _TURNS[self._turn]
            self._turn = (self._turn + 1) % len(_TURNS)
            if priority not in due:
                due[priority] = self._due(priority, n, now)
            if due[priority]:
                claims.append(self._lease(due[priority].popleft(), lease, now))
                n -= claims[-1].ending is None
                in_vain = 0
            else:
                in_vain += 1
        return claims

    def _due(self, priority: int, n: int, now: int) -> deque[int]:
        rows = self._db.execute(
            "SELECT seq FROM job WHERE died_ns IS NULL AND priority = ? AND due_ns <= ? ORDER BY due_ns, seq LIMIT ?",
            (priority, now, n),
        )
        return deque(seq for (seq,) in rows)

    def _lease(self, seq: int, lease: int, now: int) -> Claim:
        job_id, priority, trace_id, created, due, expires, tries, crashes, held, body = self._db.execute(
            "SELECT id, priority, trace_id, created_ns, due_ns, expires_at_ns, tries, crashes, token, body"
            " FROM job JOIN body USING (seq) WHERE seq = ?",
            (seq,),
        ).fetchone()
        crashes += held is not None  # nobody gave it back
        ending = Ending.EXPIRED if expires <= now else Ending.DEAD_LETTER if crashes >= self._max_crashes else None
        tries += ending is None
        token = secrets.token_hex(8)
        self._db.execute(
            "UPDATE job SET token = ?, due_ns = ?, tries = ?, crashes = ? WHERE seq = ?",
            (token, now + lease, tries, crashes, seq),
        )
        job = Job(
            id=job_id,
            priority=Priority(priority),
            body=body,
            trace_id=trace_id,
            created_ns=created,
            due_ns=due,
            expires_at_ns=expires,
        )
        return Claim(job, tries, token, ending)

    def extend(self, claim: Claim, lease: int, now: int) -> bool:
        """See Queue.extend."""
        return self._update(claim, "due_ns = ?", now + lease)

    def nack(self, claim: Claim, delay: int, now: int, *, counts: bool) -> bool:
        """See Queue.nack."""
        due, expires = now + delay, claim.job.expires_at_ns
        if now < expires:
            due = min(due, expires)
        tries = claim.tries if counts or claim.ending else claim.tries - 1
        return self._update(claim, "token = NULL, due_ns = ?, tries = ?", due, tries)

    def dead_letter(self, claim: Claim, reason: str, now: int) -> bool:
        """See Queue.dead_letter; of the reason, 2,000 characters are kept."""
        self._died = True
        text = reason[:_REASON_CHARACTERS].encode(errors="replace").decode()
        return self._update(claim, "token = NULL, died_ns = ?, reason = ?", now, text)

    def _update(self, claim: Claim, assignments: str, *values: object) -> bool:
        """Change the row if the claim still holds it."""
        query = f"UPDATE job SET {assignments} WHERE id = ? AND token = ?"  # noqa: S608 - assignments are the texts above
        return self._db.execute(query, (*values, claim.job.id, claim.token)).rowcount == 1

    def ack(self, claims: Sequence[Claim], now: int) -> list[Claim]:
        """See Queue.ack."""
        return [claim for claim in claims if not self._remove("id = ?1 AND token = ?2", (claim.job.id, claim.token), now)]

    def drop(self, ids: Sequence[str], now: int) -> list[str]:
        """Delete the dead letters with these ids, and return those ids that were none."""
        return [job_id for job_id in ids if not self._remove("id = ?1 AND died_ns IS NOT NULL", (job_id,), now)]

    def _remove(self, condition: str, values: tuple[str, ...], now: int) -> bool:
        found = self._db.execute(f"SELECT seq, id FROM job WHERE {condition}", values).fetchone()  # noqa: S608 - as above
        if found is None:
            return False
        seq, found_id = found
        self._delete(seq, found_id, now)
        return True

    def _delete(self, seq: int, job_id: str, now: int) -> None:
        self._db.execute("DELETE FROM job WHERE seq = ?", (seq,))
        self._db.execute("DELETE FROM body WHERE seq = ?", (seq,))
        self._db.execute("INSERT OR REPLACE INTO done (id, done_ns) VALUES (?, ?)", (job_id, now))
        self._done += 1

    def retry(self, ids: Sequence[str], now: int) -> list[str]:
        """Let dead letters wait again as if they were new, with as much time as they had; those ids that were none."""
        query = (
            "UPDATE job SET died_ns = NULL, reason = NULL, tries = 0, crashes = 0, due_ns = ?1,"
            " expires_at_ns = ?1 + max(expires_at_ns - created_ns, 0) WHERE id = ?2 AND died_ns IS NOT NULL"
        )
        return [job_id for job_id in ids if self._db.execute(query, (now, job_id)).rowcount == 0]

    def release(self, now: int, *, crashed: bool) -> None:
        """Take every lease back: nobody who had one is left. A crash is counted, otherwise the try is not."""
        self._db.execute(
            "UPDATE job SET token = NULL, due_ns = ?1, crashes = crashes + ?2,"
            " tries = tries - (NOT ?2 AND expires_at_ns > ?1 AND crashes < ?3) WHERE token IS NOT NULL",
            (now, crashed, self._max_crashes),
        )

    def shift(self, back: int, now: int) -> None:
        """The clock went back to `now`: what had to wait goes on waiting as long as it still had to."""
        self._db.execute("UPDATE job SET due_ns = due_ns - ? WHERE died_ns IS NULL AND due_ns > ?", (back, now))

    def tidy(self, now: int) -> None:
        """Delete the oldest remembered ids and dead letters that are too old or too many; once in a transaction."""
        if self._died:
            self._died = False
            self._delete_oldest_dead(now)
        if self._done:
            most = min(self._max_bytes // 10 // _DONE_BYTES, _MAX_DONE)
            self._db.execute(
                "DELETE FROM done WHERE seq IN (SELECT seq FROM (SELECT seq, done_ns FROM done ORDER BY seq LIMIT ?)"
                " WHERE done_ns <= ? OR seq <= (SELECT max(seq) FROM done) - ?)",
                (2 * self._done, now - self._remember_ns, most),
            )
            self._done = 0

    def _delete_oldest_dead(self, now: int) -> None:
        query = "SELECT sum(size + ?) FROM job WHERE died_ns IS NOT NULL"
        over = (self._db.execute(query, (_ROW_BYTES,)).fetchone()[0] or 0) - self._max_bytes // 10
        if over <= 0:
            return
        deleted = 0
        rows = self._db.execute("SELECT seq, id, size FROM job WHERE died_ns IS NOT NULL ORDER BY died_ns, seq").fetchall()
        for seq, job_id, size in rows:
            if over <= 0:
                break
            self._delete(seq, job_id, now)
            over -= size + _ROW_BYTES
            deleted += 1
        _log.error("the judge queue has too many dead letters; the oldest were deleted", deleted=deleted)

    def stats(self) -> Stats:
        """See Queue.stats; counts in the indexes only."""
        alive = self._counts("died_ns IS NULL")
        claimed = self._counts("token IS NOT NULL")
        (dead,) = self._db.execute("SELECT count(*) FROM job WHERE died_ns IS NOT NULL").fetchone()
        first = "SELECT min(due_ns) FROM job WHERE died_ns IS NULL AND priority = ?"
        due = [self._db.execute(first, (int(priority),)).fetchone()[0] for priority in Priority]
        return Stats(
            waiting={priority: alive.get(priority, 0) - claimed.get(priority, 0) for priority in Priority},
            claimed=sum(claimed.values()),
            dead=dead,
            next_due_ns=min((time_ns for time_ns in due if time_ns is not None), default=None),
            used_bytes=self._used_bytes(),
            max_bytes=self._max_bytes,
        )

    def _counts(self, condition: str) -> dict[int, int]:
        return dict(self._db.execute(f"SELECT priority, count(*) FROM job WHERE {condition} GROUP BY priority").fetchall())  # noqa: S608
