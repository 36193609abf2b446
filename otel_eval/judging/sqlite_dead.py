"""Looking at the dead letters in the embedded queue's file, also from another process while a hop uses it."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from otel_eval.errors import ConfigError
from otel_eval.judging.queue import Priority
from otel_eval.judging.sqlite_file import open_for_reading, usable


class DeadJob(Struct, frozen=True, kw_only=True):
    """A job that was given up. `size` is of its body, in bytes; times are ns since 1970.

    `tries` is how often it was handed out, and `crashes` how often whoever had it did not come back.
    """

    id: str
    priority: Priority
    trace_id: str
    created_ns: int
    expires_at_ns: int
    died_ns: int
    size: int
    tries: int
    crashes: int
    reason: str


def dead_jobs(path: Path) -> list[DeadJob]:
    """All of them, the oldest first; raises ConfigError when the file cannot be read, none when it is not there."""
    query = f"SELECT {', '.join(DeadJob.__struct_fields__)} FROM job WHERE died_ns IS NOT NULL ORDER BY died_ns, seq"  # noqa: S608
    with usable(path):
        if not path.exists():
            return []
        with contextlib.closing(open_for_reading(path)) as connection:
            return [
                DeadJob(**{**dict(zip(DeadJob.__struct_fields__, row, strict=True)), "priority": Priority(row[1])})
                for row in connection.execute(query)
            ]


def select(path: Path, ids: Sequence[str]) -> list[DeadJob]:
    """Those with these ids, or all when none is given; raises ConfigError for an unknown id."""
    jobs = {job.id: job for job in dead_jobs(path)}
    unknown = [job_id for job_id in ids if job_id not in jobs]
    if unknown:
        raise ConfigError(f"no dead letter {unknown[0]!r}; `otel-eval dlq list` shows what there is")
    return [jobs[job_id] for job_id in ids] if ids else list(jobs.values())
