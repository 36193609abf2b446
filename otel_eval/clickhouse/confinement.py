"""What the engine's process may open: Landlock, a rule that a Linux process lays on itself and cannot take back.

The engine runs as clickhouse-local, whose SQL function `file('/path')` reads any file without a privilege. So the
kernel must say no. The rule counts for the thread that makes it and for what that starts, hence before the engine is
loaded.
"""

import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_GET_VERSION = 1
_PATH_BENEATH = 1
_NO_NEW_PRIVILEGES = 38

_WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 14
_HANDLED = (1 << 14) - 1  # version 2: all kinds of access up to renaming into another directory
_OLDEST_VERSION = 2  # version 1 forbids such renames altogether, and the engine needs them


def available() -> bool:
    """Whether this kernel, and the container that we may be in, can confine a process."""
    return _version() >= _OLDEST_VERSION


def confine(readable: Iterable[Path], writable: Iterable[Path]) -> None:
    """Let this thread, and what it starts, open nothing but what is in these directories, or is one of these files.

    Paths that do not exist are passed over. Raises OSError when the kernel refuses.
    """
    handled = _HANDLED | (_TRUNCATE if _version() >= _OLDEST_VERSION + 1 else 0)
    attributes = struct.pack("=Q", handled)
    ruleset = _call(_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for path in readable:
            _allow(ruleset, path, _READ_FILE | _READ_DIR)
        for path in writable:
            _allow(ruleset, path, handled)
        _libc().prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)  # what the kernel demands of who has no privilege
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, access: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not path.is_dir():
            access &= _READ_FILE | _WRITE_FILE
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", access, fd), 0)
    finally:
        os.close(fd)


def _version() -> int:
    """The version of Landlock that the kernel offers, 0 for none."""
    if sys.platform != "linux":
        return 0
    try:
        return _call(_CREATE_RULESET, None, 0, _GET_VERSION)
    except OSError:
        return 0


def _call(number: int, *arguments: bytes | int | None) -> int:
    libc = _libc()
    result: int = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
