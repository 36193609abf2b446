"""The journal's directory: may it be written, is there room, and who uses it."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from otel_eval.config.models import JournalConfig
from otel_eval.doctor.finding import Finding, ok, problem, warning

_TRIED_BYTES: Final = 64 << 10
_LEAST_FREE: Final = 64 << 20


def check(config: JournalConfig) -> list[Finding]:
    """Findings about the directory; nothing stays there."""
    directory = config.directory.absolute()
    if (reason := unwritable(directory)) is not None:
        advice = "make room" if "space" in reason.lower() else "give this user the right to, or choose another directory"
        return [problem("journal", f"{directory} cannot be written: {reason}; {advice}")]
    findings = [_room(directory, config.max_size_mib << 20)]
    if (process := owner(directory)) is not None:
        findings.append(ok("journal", f"{directory} is in use by process {process}, the hop that runs"))
    return findings


def unwritable(directory: Path) -> str | None:
    """Why nothing can be written there, None when that is possible; of one that is to be made, where it would be."""
    try:
        if not directory.exists():
            parent = _existing(directory)
            allowed = parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)
            return None if allowed else f"it is not there, and {parent} lets nobody like us make it"
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(os.urandom(_TRIED_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.strerror or str(error)
    return None


def free_bytes(directory: Path) -> int:
    """What this user may still write there."""
    status = os.statvfs(_existing(directory))
    return status.f_bavail * status.f_frsize


def owner(directory: Path) -> str | None:
    """The process that has locked the directory, None when none has."""
    try:
        fd = os.open(directory / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(fd, 20, 0).decode(errors="replace").strip() or "unknown"
    finally:
        os.close(fd)
    return None


def _room(directory: Path, max_bytes: int) -> Finding:
    free, used = free_bytes(directory), sum(_sizes(directory))
    wanted = max(max_bytes - used, 0)
    text = f"{directory}: {free >> 20} MiB are free, and the journal may take {wanted >> 20} MiB more"
    if free >= wanted:
        return ok("journal", text)
    if free < _LEAST_FREE:
        return problem("journal", f"{text}; make room, or it takes no requests")
    return warning("journal", f"{text}; make room or lower journal.max_size_mib: when the disk is full, senders have to wait")


def _sizes(directory: Path) -> Iterator[int]:
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                yield os.stat(os.path.join(folder, name)).st_size
            except OSError:  # gone in the meantime
                continue


def _existing(directory: Path) -> Path:
    return next(path for path in (directory, *directory.parents) if path.exists())
