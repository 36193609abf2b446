"""The embedded ClickHouse server: a supervised child process; see the package docstring."""

import asyncio
import contextlib
import importlib.util
import os
import re
import signal
import site
import sys
import time
from asyncio.subprocess import PIPE, STDOUT, Process
from importlib import metadata
from pathlib import Path

import structlog

from otel_eval.clickhouse.child import NO_WAY_IN, READY
from otel_eval.clickhouse.confinement import available
from otel_eval.clickhouse.directory import EngineDirectory, Listening
from otel_eval.clickhouse.settings import HOST, Clusters, config_xml, users_xml
from otel_eval.config.values import Secret
from otel_eval.errors import ConfigError

VERSION = "26.9"
"""The chdb-core that the way in was tested with; see the package docstring."""

_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 5.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 30.0
_CALM_S = 60.0  # having run so long, it starts again without a wait
_TAIL_BYTES = 8192
_STACK_TRACE = re.compile(r",? Stack trace \(when copying.*$|^\s*\d+\. .*$|^\s*$", re.MULTILINE)
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")

log = structlog.get_logger()


class NoWayInError(ConfigError):
    """The installed chdb cannot be a server; `endpoint.InProcess` may still open the directory."""


class EmbeddedServer:
    """A ClickHouse server of this machine, for as long as this process lives.

    `http_port` 0 lets the system choose at the first start; restarts keep it. `tcp_port` is the native protocol (None:
    off). The reader may read `database` (ends in `*`: every one that begins so).
    """

    def __init__(
        self,
        directory: Path,
        http_port: int = 0,
        tcp_port: int | None = None,
        max_memory_bytes: int = 1_500_000_000,
        database: str = "otel",
        clusters: Clusters | None = None,
    ) -> None:
        self.host = HOST
        self.http_port = http_port
        self.tcp_port = tcp_port
        self.version = ""
        self.passwords: dict[str, Secret] = {}
        self._directory = EngineDirectory(directory)
        self._max_memory_bytes = max_memory_bytes
        self._database = database
        self._clusters = clusters or {}
        self._process: Process | None = None
        self._tail = _Tail(None)
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def directory(self) -> Path:
        """The directory with the data and the passwords."""
        return self._directory.path

    @property
    def pid(self) -> int | None:
        """The process of the server; None while there is none."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def start(self) -> None:
        """Start and return when it listens; raises ConfigError (NoWayInError) when it cannot."""
        check_version(installed_version())
        self._directory.prepare()
        await self._directory.lock()
        try:
            self.passwords = self._directory.passwords()
            process = await self._launch()
        except OSError as error:
            await self.stop()
            raise ConfigError(f"{self.directory}: cannot be used: {error.strerror}") from None
        except BaseException:
            await self.stop()
            raise
        if not available():
            log.warning("this system cannot confine the embedded ClickHouse: its reader can read the files of this user")
        self._supervisor = asyncio.create_task(self._supervise(process))

    async def stop(self) -> None:
        """End the server; what it acknowledged is on disk. May be called twice, and before `start`."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.cancel()
            await asyncio.gather(supervisor, return_exceptions=True)
        process, self._process = self._process, None
        if process is not None:
            self._directory.withdraw()
            await _end(process)
        self._directory.unlock()

    async def _launch(self) -> Process:
        """Start the child and wait until it listens."""
        directory, tcp = self._directory, self.tcp_port is not None
        config = config_xml(self.http_port, self.tcp_port, self._max_memory_bytes, self._clusters)
        directory.make_ready(config, users_xml(self.passwords, self._database, self._max_memory_bytes))
        ready = directory.server / READY
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "otel_eval.clickhouse.child", str(directory.data), *(["tcp"] if tcp else [])),
            stdin=PIPE,  # never written to: its end tells the child that we are gone
            stdout=PIPE,
            stderr=STDOUT,
            cwd=directory.server,
            env=_environment(directory.server),
            pass_fds=[directory.lock_fd],
            start_new_session=True,  # Ctrl-C is for us: what is under way is finished before the server ends
        )
        try:
            self._tail = _Tail(process.stdout)
            listening = await self._until_ready(process, ready)
            directory.announce(listening)
        except BaseException:
            await _end(process)
            raise
        self._process = process
        self.http_port, self.version = listening.http_port, listening.version
        if tcp:
            self.tcp_port = listening.tcp_port
        return process

    async def _until_ready(self, process: Process, ready: Path) -> Listening:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            text = _read(ready)
            if text.endswith("\n"):  # the whole line has been written
                http, tcp, version = text.split()
                return Listening(HOST, int(http), int(tcp) or None, version, os.getpid())
            if process.returncode is not None:
                await self._tail.end()
                raise self._failure(process.returncode)
            await asyncio.sleep(0.01)
        raise ConfigError(f"{self.directory}: the embedded ClickHouse does not listen after {_START_TIMEOUT_S:.0f} s")

    def _failure(self, code: int) -> ConfigError:
        reason = self._tail.text()
        if code == NO_WAY_IN:
            return NoWayInError(f"this chdb-core cannot be a server ({reason}): pip install 'otel-eval[embedded]'")
        if "Address already in use" in reason or "NETWORK_ERROR" in reason:
            ports = f"{HOST}:{self.http_port}" + ("" if self.tcp_port is None else f" or {HOST}:{self.tcp_port}")
            return ConfigError(f"the embedded ClickHouse cannot listen on {ports}: is another program using it? ({reason})")
        return ConfigError(f"{self.directory}: the embedded ClickHouse did not start (exit code {code}): {reason}")

    async def _supervise(self, process: Process) -> None:
        wait = _FIRST_WAIT_S
        while True:
            started = time.monotonic()
            code = await process.wait()
            await self._tail.end()
            log.warning("the embedded ClickHouse ended and is started again", exit_code=code, output=self._tail.text())
            if time.monotonic() - started > _CALM_S:
                wait = _FIRST_WAIT_S
            while True:
                await asyncio.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT_S)
                try:
                    process = await self._launch()
                    log.info("the embedded ClickHouse listens again", http=f"{HOST}:{self.http_port}")
                    break
                except (ConfigError, OSError) as error:
                    log.error("the embedded ClickHouse cannot be started", error=str(error), next_try_s=wait)


class _Tail:
    """The last bytes that a child wrote."""

    def __init__(self, output: asyncio.StreamReader | None) -> None:
        self._bytes = b""
        self._task = None if output is None else asyncio.create_task(self._follow(output))

    async def end(self) -> None:
        """Return when the child has closed its output, or soon after."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=1.0)

    def text(self) -> str:
        """The last lines that say something, without stack traces."""
        return " ".join(_STACK_TRACE.sub("", self._bytes.decode(errors="replace")).split())[-500:]

    async def _follow(self, output: asyncio.StreamReader) -> None:
        while chunk := await output.read(4096):
            self._bytes = (self._bytes + chunk)[-_TAIL_BYTES:]


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


async def _end(process: Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
    await process.wait()


def check_version(installed: str | None) -> None:
    """Raise ConfigError unless that version of chdb-core is one that is known to work."""
    if installed is None:
        raise ConfigError("the embedded ClickHouse needs chdb-core: pip install 'otel-eval[embedded]'")
    if not installed.startswith(f"{VERSION}."):
        raise ConfigError(f"chdb-core {installed} is installed, but {VERSION} is needed: pip install 'otel-eval[embedded]'")


def installed_version() -> str | None:
    """The version of chdb-core, None when it is not there."""
    try:
        version = metadata.version("chdb-core")
    except metadata.PackageNotFoundError:
        return None
    return version if importlib.util.find_spec("chdb") is not None else None


def _environment(home: Path) -> dict[str, str]:
    """What the child needs to find Python's packages, and none of our secrets."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return kept | {"HOME": str(home), "TMPDIR": str(home / "tmp"), "TZ": "UTC", "PYTHONUSERBASE": site.getuserbase()}
