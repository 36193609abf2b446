"""The embedded server as a process: starting, dying, its directory, and what is said when it cannot start."""

import asyncio
import json
import os
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
import structlog.testing

from otel_eval.clickhouse.client import ClickHouse
from otel_eval.clickhouse.endpoint import InProcess, endpoint_of, running
from otel_eval.clickhouse.server import EmbeddedServer, check_version
from otel_eval.errors import ConfigError, RetryableError

Start = Callable[..., Awaitable[EmbeddedServer]]

HOLD = """
import asyncio, sys
from pathlib import Path
from otel_eval.clickhouse.server import EmbeddedServer
from otel_eval.errors import ConfigError

async def hold():
    server = EmbeddedServer(Path(sys.argv[1]))
    try:
        await server.start()
    except ConfigError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    print(server.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(hold())
"""


@pytest_asyncio.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Start servers in this test's directory; stopped afterwards."""
    async with AsyncExitStack() as stack:

        async def start_one(**settings: object) -> EmbeddedServer:
            server = EmbeddedServer(tmp_path / "engine", **settings)  # type: ignore[arg-type]
            stack.push_async_callback(server.stop)
            await server.start()
            return server

        yield start_one


async def holder(directory: Path, **variables: str) -> asyncio.subprocess.Process:
    """Another process that starts a server there."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HOLD, str(directory)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | variables,
    )


async def gone(pid: int) -> None:
    async with asyncio.timeout(10):
        while Path(f"/proc/{pid}").exists():
            await asyncio.sleep(0.005)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def test_its_files_are_private_and_its_passwords_stay(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-secret")
    port = free_port()
    server = await start(http_port=port, tcp_port=0)
    assert server.http_port == port
    assert server.tcp_port not in (0, None, port)
    assert server.version.startswith("26.9.")
    assert b"sk-secret" not in Path(f"/proc/{server.pid}/environ").read_bytes()
    modes = {
        str(path.relative_to(server.directory)): stat.S_IMODE(path.stat().st_mode)
        for path in (server.directory, *server.directory.glob("*"), *server.directory.glob("server/*.xml"))
    }
    assert modes == {
        ".": 0o700,
        "lock": 0o600,
        "writer.password": 0o600,
        "reader.password": 0o600,
        "connection.json": 0o600,
        "server": 0o700,
        "data": 0o700,
        "server/config.xml": 0o600,
        "server/users.xml": 0o600,
    }
    for password in server.passwords.values():
        assert password.reveal() not in (server.directory / "server" / "users.xml").read_text()
    listening = json.loads((server.directory / "connection.json").read_text())
    assert listening["http_port"] == port
    assert listening["tcp_port"] == server.tcp_port
    await server.stop()
    assert running(server.directory) is None
    assert not (server.directory / "connection.json").exists()
    again = await start()
    assert again.passwords == server.passwords


async def test_killed_during_inserts_it_comes_back_on_its_port_with_every_acknowledged_row(start: Start) -> None:
    server = await start()
    port = server.http_port
    client = ClickHouse(endpoint_of(server, "writer"))
    await client.command("CREATE DATABASE otel")
    await client.command("CREATE TABLE otel.t (a UInt64) ENGINE = MergeTree ORDER BY a")
    acknowledged: set[int] = set()
    stop = asyncio.Event()

    async def insert(first: int) -> None:
        for number in range(first, 1 << 30, 2):
            if stop.is_set():
                return
            try:
                await client.insert_raw("otel.t", f"{number}\n".encode(), "CSV")
                acknowledged.add(number)
            except RetryableError:
                await asyncio.sleep(0.05)

    writers = [asyncio.create_task(insert(first)) for first in (0, 1)]
    for _ in range(2):
        before = len(acknowledged)
        async with asyncio.timeout(20):
            while len(acknowledged) < before + 20:
                await asyncio.sleep(0.01)
        killed = server.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        with structlog.testing.capture_logs() as lines:
            async with asyncio.timeout(20):
                while server.pid in (None, killed):
                    await asyncio.sleep(0.01)
        assert [(line["log_level"], line["event"]) for line in lines] == [
            ("warning", "the embedded ClickHouse ended and is started again"),
            ("info", "the embedded ClickHouse listens again"),
        ]
    before = len(acknowledged)
    async with asyncio.timeout(20):
        while len(acknowledged) < before + 5:
            await asyncio.sleep(0.01)
    stop.set()
    await asyncio.gather(*writers)
    stored = [row[0] for row in (await client.query("SELECT a FROM otel.t")).rows]
    assert acknowledged <= set(stored)
    assert len(stored) == len(set(stored))
    assert server.http_port == port
    await client.close()


async def test_one_that_cannot_be_announced_is_not_left_running(start: Start) -> None:
    server = await start()
    in_the_way = server.directory / "connection.json.new"  # as a disk is that is full just then
    in_the_way.mkdir()
    assert server.pid is not None
    with structlog.testing.capture_logs() as lines:
        os.kill(server.pid, signal.SIGKILL)
        async with asyncio.timeout(20):
            while sum(line["log_level"] == "error" for line in lines) < 2:
                await asyncio.sleep(0.01)
        assert server.pid is None
        in_the_way.rmdir()
        async with asyncio.timeout(20):
            while server.pid is None:
                await asyncio.sleep(0.01)
    assert not [line for line in lines if "already running" in line.get("error", "")]


async def test_it_ends_with_its_parent_and_the_directory_is_free_at_once(tmp_path: Path, start: Start) -> None:
    parent = await holder(tmp_path / "engine")
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()
    await start()
    await gone(pid)


async def test_a_second_one_on_the_same_directory_is_refused(tmp_path: Path, start: Start) -> None:
    server = await start()
    second = await holder(server.directory)
    _, said = await second.communicate()
    assert said.decode().startswith(f"ConfigError: {server.directory}: in use by another process ({os.getpid()})")
    client = ClickHouse(InProcess(server.directory))
    with pytest.raises(ConfigError, match="in use by this process already; each exporter and the journal need"):
        await client.query("SELECT 1")
    found = running(server.directory, "otel")
    assert found is not None
    assert (found.user, found.port, found.database) == ("reader", server.http_port, "otel")
    reader = ClickHouse(running(server.directory) or InProcess(tmp_path))
    assert (await reader.query("SELECT currentUser()")).rows == [("reader",)]
    await reader.close()


async def test_a_port_in_use_is_named(start: Start) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"cannot listen on 127\.0\.0\.1:{port}: is another program using it"):
            await start(http_port=port)
    await start(http_port=port)


async def test_a_directory_where_others_can_write_is_refused(tmp_path: Path, start: Start) -> None:
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine").chmod(0o777)
    with pytest.raises(ConfigError, match="others can write here"):
        await start()


@pytest.mark.parametrize(
    ("installed", "said"),
    [(None, "needs chdb-core"), ("26.5.0", "chdb-core 26.5.0 is installed, but 26.9"), ("26.90.0", "26.90.0 is installed")],
)
def test_a_missing_or_other_version_is_refused(installed: str | None, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_version(installed)


async def test_the_installed_version_is_looked_at(tmp_path: Path) -> None:
    distribution = tmp_path / "packages" / "chdb_core-26.5.0.dist-info"
    distribution.mkdir(parents=True)
    (distribution / "METADATA").write_text("Metadata-Version: 2.1\nName: chdb-core\nVersion: 26.5.0\n")
    parent = await holder(tmp_path / "engine", PYTHONPATH=str(distribution.parent))
    _, said = await parent.communicate()
    assert said.startswith(b"ConfigError: chdb-core 26.5.0 is installed, but 26.9 is needed")


async def test_a_chdb_without_the_way_in_is_told_apart(tmp_path: Path) -> None:
    package = tmp_path / "packages" / "chdb"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "_chdb.py").write_text("")
    parent = await holder(tmp_path / "engine", PYTHONPATH=str(package.parent))
    _, said = await parent.communicate()
    assert said.startswith(b"NoWayInError: this chdb-core cannot be a server")
