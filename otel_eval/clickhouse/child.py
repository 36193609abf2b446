"""The process that is the embedded ClickHouse server: `python -P -m otel_eval.clickhouse.child DATA [tcp]`.

Its current directory holds config.xml and users.xml, and gets `ready.tsv` (ports, version) once it listens. Standard
input is a pipe from the parent: when that ends, so does this process.
"""

import importlib.util
import os
import signal
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from otel_eval.clickhouse.confinement import available, confine

READY = "ready.tsv"
NO_WAY_IN = 3  # the exit code when this chdb cannot listen

_GRACE_S = 5.0
_REFUSALS = ("not supported in clickhouse-local", "start_servers_callback", "Syntax error")
# What the engine, its libraries and its memory accounting read. No /etc: configurations with secrets are there.
_SYSTEM = (
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/share/zoneinfo",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/proc/meminfo",
    "/proc/cpuinfo",
    "/proc/stat",
    "/sys/fs/cgroup",
    "/sys/devices/system",
    "/dev/urandom",
)


def main(data: Path, *, tcp: bool) -> int:
    """Serve until the parent or a signal ends it; returns the exit code of a failure."""
    if available():
        confine(_readable(), [data, Path.cwd(), Path("/dev/null")])
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        from chdb import _chdb

        query: Any = getattr(_chdb, "query")  # noqa: B009 - chdb's stubs leave it out
        query(_statements(tcp=tcp), "TSV", path=str(data))
    except (ImportError, AttributeError) as error:
        sys.stderr.write(f"{error}\n")
        return NO_WAY_IN
    except RuntimeError as error:
        sys.stderr.write(f"{error}\n")
        return NO_WAY_IN if any(refusal in str(error) for refusal in _REFUSALS) else 1
    return 1


def _statements(*, tcp: bool) -> str:
    """Listen, say where, and wait for ever."""
    listen = ["SYSTEM START LISTEN HTTP", *(["SYSTEM START LISTEN TCP"] if tcp else [])]
    tcp_port = "getServerPort('tcp_port')" if tcp else "0"
    tell = f"SELECT getServerPort('http_port'), {tcp_port}, version() INTO OUTFILE '{READY}' TRUNCATE FORMAT TSV"
    wait = "SELECT sum(sleepEachRow(3)) FROM system.numbers LIMIT 1000000000 SETTINGS max_block_size = 1"
    return "; ".join([*listen, tell, wait])


def _readable() -> Iterator[Path]:
    yield from map(Path, _SYSTEM)
    yield Path("/proc/self").resolve()
    yield Path(sys.base_prefix, "lib")
    yield from (Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    package = importlib.util.find_spec("chdb")
    if package is not None and package.origin is not None:
        yield Path(package.origin).parent.parent


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), tcp="tcp" in sys.argv[2:]))
