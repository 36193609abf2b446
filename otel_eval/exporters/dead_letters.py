"""The dead-letter store: requests that a backend refused for good, kept for a person to decide about.

Each is one file `<id>.letter` under the journal's directory: a line of JSON (exporter, kind, items, reason, time) and
then the request as it was sent. The id comes from the request's place in the journal, so that a crash between storing
it and moving the cursor does not store it twice. The files count against the journal's disk budget.

The store is bounded: over its size the oldest letters are deleted, counted and logged, and before them one that is too
large for it. A backend that refuses all of one kind (it takes traces but no logs, say) must not fill the disk budget,
since then nothing would be accepted any more.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import structlog

from otel_eval.errors import ConfigError
from otel_eval.records import Kind, OwnKind
from otel_eval.telemetry import Counter

_log = structlog.get_logger(__name__)

_SUFFIX = ".letter"
_PARTS = 8
_KINDS: dict[str, Kind | OwnKind] = {str(kind): kind for kind in (*Kind, *OwnKind)}


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One refused request; `size` in bytes on disk, `time_ns` when it was refused."""

    id: str
    exporter: str
    kind: Kind | OwnKind
    items: int
    reason: str
    time_ns: int
    size: int
    path: Path

    def body(self) -> bytes:
        """The request."""
        return self.path.read_bytes().partition(b"\n")[2]

    def drop(self) -> None:
        """Delete it for good; raises ConfigError when that is not allowed."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be deleted: {error.strerror}") from None


class DeadLetters:
    """The store of one journal directory, of at most `max_bytes`; safe to use from several processes and threads."""

    def __init__(self, journal_directory: Path, max_bytes: int = sys.maxsize) -> None:
        self._directory = journal_directory / "dead-letters"
        self._max_bytes = max_bytes
        self._added_bytes = max_bytes  # what is there already is looked at with the first one
        self.deleted = Counter()
        self._changed_at = 0
        self._measured = (0, 0)

    def add(self, exporter: str, kind: Kind | OwnKind, label: str, body: bytes, items: int, reason: str) -> str:
        """Store a request durably and return its id; raises OSError when it cannot be written."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        letter = f"{quote(exporter, safe='')}.{kind}.{label}"  # as the cursors are named: two exporters never share a name
        head = {"exporter": exporter, "kind": kind, "items": items, "reason": reason[:2000], "time_ns": time.time_ns()}
        unfinished = self._directory / f"{letter}.unfinished"
        with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            self._added_bytes += file.write(json.dumps(head).encode() + b"\n" + body)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(self._directory / (letter + _SUFFIX))
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(directory)  # the new name
        finally:
            os.close(directory)
        if self._added_bytes > self._max_bytes // _PARTS:
            self._added_bytes = 0
            self._delete_oldest()
        return letter

    def _delete_oldest(self) -> None:
        """Make room for another part of the store, so that it does not have to be looked through for each letter.

        One that is larger than all that may stay goes first: the others must not go for it.
        """
        most = self._max_bytes - self._max_bytes // _PARTS
        letters = sorted((stat.st_size <= most, stat.st_mtime_ns, stat.st_size, path) for path, stat in self._files())
        size = sum(size for _, _, size, _ in letters)
        deleted = 0
        for _, _, freed, path in letters:
            if size <= most:
                break
            path.unlink(missing_ok=True)
            size -= freed
            deleted += 1
        if deleted:
            self.deleted.add(deleted)
            _log.error(
                "the dead-letter store is full; the oldest letters, or what is too large for it, were deleted", deleted=deleted
            )

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in self._directory.glob(f"*{_SUFFIX}"):
            try:
                yield path, path.stat()
            except FileNotFoundError:  # dropped by somebody in the meantime
                continue

    def letters(self) -> list[DeadLetter]:
        """All of them, the oldest first; raises ConfigError when they cannot be read."""
        try:
            letters = [_read(self._directory / name) for name in os.listdir(self._directory) if name.endswith(_SUFFIX)]
        except FileNotFoundError:
            return []
        except OSError as error:  # not allowed, most often: the hop runs as somebody else
            raise ConfigError(f"{error.filename}: cannot be read: {error.strerror}") from None
        return sorted((letter for letter in letters if letter), key=lambda letter: letter.time_ns)

    def select(self, ids: tuple[str, ...]) -> "list[DeadLetter]":
        """Those with these ids, or all when none is given; raises ConfigError for an unknown id."""
        letters = {letter.id: letter for letter in self.letters()}
        unknown = [letter for letter in ids if letter not in letters]
        if unknown:
            raise ConfigError(f"no dead letter {unknown[0]!r}; `otel-eval dead-letter list` shows what there is")
        return [letters[letter] for letter in ids] if ids else list(letters.values())

    def measure(self) -> tuple[int, int]:
        """Number and bytes on disk; cheap when nothing has changed."""
        try:
            changed_at = self._directory.stat().st_mtime_ns
        except FileNotFoundError:
            return 0, 0
        if changed_at != self._changed_at:
            sizes = [stat.st_size for _, stat in self._files()]
            self._measured, self._changed_at = (len(sizes), sum(sizes)), changed_at
        return self._measured


def _read(path: Path) -> DeadLetter | None:
    try:
        with open(path, "rb") as file:
            head = json.loads(file.readline())
            size = os.fstat(file.fileno()).st_size
        kind = _KINDS[head["kind"]]
        return DeadLetter(path.stem, head["exporter"], kind, head["items"], head["reason"], head["time_ns"], size, path)
    except (FileNotFoundError, IsADirectoryError, ValueError, KeyError, TypeError):  # dropped meanwhile, or no letter at all
        return None
