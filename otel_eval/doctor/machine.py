"""What the process gets from its machine: files, memory, processors."""

import os
import platform
import resource
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from otel_eval.clickhouse.endpoint import EMBEDDED
from otel_eval.clickhouse.exporter import ClickHouseExporter
from otel_eval.config import Config
from otel_eval.doctor.finding import Finding, ok, problem, warning

_FILES: Final = 4096
_FEWEST_FILES: Final = 512
_OWN_MIB: Final = 400
"""What a hop takes, with its traces and judges (measured: 150 MiB at rest)."""

_MEMINFO: Final = Path("/proc/meminfo")
_CGROUP: Final = Path("/sys/fs/cgroup")

Look = Callable[[], Awaitable[Sequence[Finding]]]


def checks(config: Config) -> list[tuple[str, Look]]:
    """The checks by name."""

    async def files() -> list[Finding]:
        return [_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0])]

    async def memory() -> list[Finding]:
        return [_memory(config)]

    async def python() -> list[Finding]:
        return [_python()]

    return [("files", files), ("memory", memory), ("python", python)]


def _files(limit: int) -> Finding:
    if limit == resource.RLIM_INFINITY or limit >= _FILES:
        return ok("files", "as many can be open at once as are needed")
    text = f"only {limit} can be open at once, connections too; raise it to {_FILES} or more (ulimit -n, LimitNOFILE=)"
    return (problem if limit < _FEWEST_FILES else warning)("files", text)


def _memory(config: Config) -> Finding:
    engines = [
        one.max_memory_mib
        for one in config.exporters.values()
        if isinstance(one, ClickHouseExporter.Config) and one.endpoint == EMBEDDED
    ]
    needed = _OWN_MIB + sum(engines)
    what = f"{needed} MiB may be needed{', most of it by the embedded ClickHouse (max_memory_mib)' if engines else ''}"
    available = available_mib()
    if available is None:
        return ok("memory", f"{what}; how much there is cannot be found out here")
    if available < needed:
        return warning("memory", f"{available} MiB are free and {what}; a hop that runs already has its part of it")
    return ok("memory", f"{available} MiB are free, {what}")


def available_mib() -> int | None:
    """What is free on this machine, or within the limit of our control group if that is less; None if unknown."""
    found = [mib for mib in (_of_meminfo(), _of_cgroup()) if mib is not None]
    return min(found, default=None)


def _of_meminfo() -> int | None:
    try:
        lines = _MEMINFO.read_text().splitlines()
        return next(int(line.split()[1]) >> 10 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return None


def _of_cgroup() -> int | None:
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        return None if limit == "max" else (int(limit) - int((_CGROUP / "memory.current").read_text())) >> 20
    except (OSError, ValueError):
        return None


def _python() -> Finding:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    processors = "1 processor" if usable == 1 else f"{usable} processors"
    return ok("python", f"{platform.python_implementation()} {platform.python_version()} on {platform.machine()}, {processors}")
