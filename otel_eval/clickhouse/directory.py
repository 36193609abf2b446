"""The directory of an embedded ClickHouse: who may use it, its passwords, and where its server listens."""

import asyncio
import fcntl
import os
import secrets
import shutil
import time
from pathlib import Path

import msgspec

from otel_eval.clickhouse.child import READY
from otel_eval.clickhouse.settings import READER, WRITER
from otel_eval.config.values import Secret
from otel_eval.errors import ConfigError

_WAIT_FOR_ORPHAN_S = 6.0  # the child of a parent that was killed ends itself, by force after five seconds
_OTHERS_MAY_WRITE = 0o022


class Listening(msgspec.Struct, frozen=True):
    """What connection.json tells other processes of this machine; `pid` is the parent's."""

    host: str
    http_port: int
    tcp_port: int | None
    version: str
    pid: int


class EngineDirectory:
    """See the package docstring for the files."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.data = self.path / "data"
        self.server = self.path / "server"
        self._lock: int | None = None

    @property
    def lock_fd(self) -> int:
        """The descriptor that holds the lock; a child that gets it holds the lock too."""
        if self._lock is None:
            raise ValueError("not locked")
        return self._lock

    def prepare(self) -> None:
        """Make the directories; raises ConfigError when others could write there, which could change the engine."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self.path.stat()
            if status.st_uid != os.geteuid() or status.st_mode & _OTHERS_MAY_WRITE:
                raise ConfigError(f"{self.path}: others can write here, and so change the engine; use a directory of your own")
            for directory in (self.data, self.server):
                directory.mkdir(mode=0o700, exist_ok=True)
                directory.chmod(0o700)
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be used: {error.strerror}") from None

    async def lock(self) -> None:
        """Take the directory for this process; raises ConfigError when another one has it.

        The engine of a process that was killed holds on for a moment: that is waited for.
        """
        deadline = time.monotonic() + _WAIT_FOR_ORPHAN_S
        while (owner := self.try_lock()) is not None:
            if _alive(owner) or time.monotonic() > deadline:
                raise in_use(self.path, owner)
            await asyncio.sleep(0.02)

    def try_lock(self) -> str | None:
        """Lock; None on success, else who has it."""
        fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(fd, 20, 0).decode(errors="replace").strip()
            os.close(fd)
            return owner
        os.pwrite(fd, f"{os.getpid():<20}".encode(), 0)
        self._lock = fd
        return None

    def unlock(self) -> None:
        """Give the directory up; may be called twice."""
        fd, self._lock = self._lock, None
        if fd is not None:
            os.close(fd)

    def passwords(self) -> dict[str, Secret]:
        """The password of each user; made once, and kept in files that only the owner can read."""
        return {user: self._password(user) for user in (WRITER, READER)}

    def announce(self, listening: Listening) -> None:
        """Tell other processes where the server listens."""
        _write(self.path / "connection.json", msgspec.json.encode(listening))

    def withdraw(self) -> None:
        """The server does not listen any more."""
        (self.path / "connection.json").unlink(missing_ok=True)

    def listening(self) -> Listening | None:
        """Where the server of this directory listens, None when none does.

        Raises ConfigError when the directory cannot be read, or a process uses it without a server.
        """
        try:
            fd = os.open(self.path / "lock", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be read: {error.strerror}") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            try:
                return msgspec.json.decode((self.path / "connection.json").read_bytes(), type=Listening)
            except (OSError, msgspec.MsgspecError):
                raise in_use(self.path, os.pread(fd, 20, 0).decode(errors="replace").strip()) from None
        finally:
            os.close(fd)
        return None

    def make_ready(self, config: bytes, users: bytes) -> None:
        """Write the files that the engine reads at its start, and clear away what an earlier one left."""
        for name in ("tmp", "files"):
            shutil.rmtree(self.server / name, ignore_errors=True)
            (self.server / name).mkdir(mode=0o700)
        (self.server / READY).unlink(missing_ok=True)
        _write(self.server / "config.xml", config)
        _write(self.server / "users.xml", users)

    def _password(self, user: str) -> Secret:
        path = self.path / f"{user}.password"
        try:
            text = path.read_text().strip()
            if text:
                return Secret(text)
        except FileNotFoundError:
            pass
        except (OSError, ValueError):
            raise ConfigError(f"{path}: the password cannot be read; delete the file to get a new one") from None
        text = secrets.token_urlsafe(32)
        _write(path, f"{text}\n".encode())
        return Secret(text)


def in_use(path: Path, owner: str) -> ConfigError:
    """What to tell when another process has the directory, or another exporter of this one."""
    if owner == str(os.getpid()):
        return ConfigError(
            f"{path}: in use by this process already; each exporter and the journal need a directory of their own, and the"
            " settings of the embedded ClickHouse change at a restart only"
        )
    return ConfigError(f"{path}: in use by another process ({owner}), and only one may open its data")


def _write(path: Path, content: bytes) -> None:
    """Replace a file by one that only the owner can read; never half of it is there."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
    new.replace(path)


def _alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
