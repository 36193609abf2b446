"""The queue between the decision to judge a trace and its judges: what every queue does, and the records in it.

A job waits, is claimed, or is dead; an acknowledged one is gone. What every queue guarantees (one conformance suite,
`tests/judging/test_queue_conformance.py`, holds each to it):
- Jobs for which `enqueue_many` has returned survive `kill -9`. A claim is a lease: when it runs out, the job is handed
  out again, so each job is handed out at least once, and until it is acknowledged or dead.
- An id is there once. Enqueueing one that waits, is claimed, is dead, or was acknowledged not long ago does nothing:
  whoever is not sure after a crash enqueues again.
- Each claim has a token. Whoever has lost the lease to somebody else is told so and changes nothing.
- Nothing is dropped. A full queue raises RetryableError. A job beyond its deadline, or one whose workers have died too
  often, is not handed out for work but as a claim with an `ending`: whoever gets it records that terminal state
  and then acknowledges it (`expired`) or makes it a dead letter (`dead_letter`). If he dies before that, it is handed
  out again. Records have deterministic ids, so the state is recorded exactly once in effect.
- Of the jobs that are due, those of higher priority come more often (8:4:2:1), and no priority starves.
"""

from collections.abc import Sequence
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Protocol

from msgspec import Struct


class Priority(IntEnum):
    """Why a trace is judged, the most urgent first."""

    GATE = 0
    """A release waits for it, or it is a canary job with a known verdict."""
    BASELINE = 1
    TRIGGERED = 2
    """A quality signal fired."""
    BACKFILL = 3


class Ending(StrEnum):
    """Why a claimed job must not be worked on; the value is the terminal state to record."""

    EXPIRED = "expired"
    DEAD_LETTER = "dead_letter"


class Job(Struct, frozen=True, kw_only=True):
    """One trace to judge. Times are wall clock, ns since 1970.

    `id` is the same whenever the same decision is made again; `body` is opaque, compressed by whoever makes the job;
    `due_ns` is when it may be claimed, and jobs of one priority come in its order.
    """

    id: str
    priority: Priority
    body: bytes
    trace_id: str
    created_ns: int
    due_ns: int
    expires_at_ns: int


class Claim(Struct, frozen=True):
    """A job that is ours until the lease runs out. `tries` counts this one; rate-limit waits are not counted."""

    job: Job
    tries: int
    token: str
    ending: Ending | None = None


class Stats(Struct, frozen=True, kw_only=True):
    """How many jobs are in a queue, and how much room they take. `waiting` includes those that are not due yet."""

    waiting: dict[Priority, int]
    claimed: int
    dead: int
    next_due_ns: int | None
    """Since when a job could have been claimed, or from when on one can be; None when there is none."""
    used_bytes: int
    max_bytes: int


class Queue(Protocol):
    """See the module docstring. Every method returns when its effect is durable; RetryableError: it had none."""

    async def enqueue_many(self, jobs: Sequence[Job]) -> int:
        """Queue those whose ids are new, all or none, and return how many.

        Raises RetryableError when there is no room, TooLargeError when there never will be.
        """
        ...

    async def claim(self, n: int, lease_s: float) -> list[Claim]:
        """Up to `n` jobs that are due, and beside them some of those that have ended; none when there are none.

        `lease_s` is above 0. `claim(0, ...)` gives only those that have expired: for a pool that must not work now.
        """
        ...

    async def extend(self, claim: Claim, lease_s: float) -> bool:
        """Let the lease end `lease_s` from now; False when it was lost."""
        ...

    async def ack(self, claims: Sequence[Claim]) -> list[Claim]:
        """Remove the jobs for good, and return the claims that were lost to somebody else: nothing was done for these."""
        ...

    async def nack(self, claim: Claim, delay_s: float, *, counts: bool) -> bool:
        """Give the job back for `delay_s`, until its deadline at the latest; False when the lease was lost.

        `counts` is False for a wait that is not the job's fault: the try is not counted.
        """
        ...

    async def dead_letter(self, claim: Claim, reason: str) -> bool:
        """Put the job aside for a person, with its body; False when the lease was lost."""
        ...

    async def stats(self) -> Stats:
        """What is in it now."""
        ...


def queue_file(journal_directory: Path) -> Path:
    """Where the hop with that journal keeps its queue."""
    return journal_directory / "judging" / "queue.sqlite3"
