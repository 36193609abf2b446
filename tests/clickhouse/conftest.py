"""A real ClickHouse for these tests: one embedded server for all of them, one database for each."""

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from otel_eval.clickhouse.client import ClickHouse
from otel_eval.clickhouse.endpoint import endpoint_of
from otel_eval.clickhouse.server import EmbeddedServer

_numbers = itertools.count()


class Database(NamedTuple):
    """A fresh database, and clients of the writer and the reader whose names without a database mean it."""

    name: str
    client: ClickHouse
    reader: ClickHouse


@pytest.fixture(scope="session")
def clickhouse_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """The embedded server, supervised in a thread with a loop of its own; the reader may read `test_*`."""
    directory: Path = tmp_path_factory.mktemp("clickhouse") / "engine"
    server = EmbeddedServer(directory, database="test_*")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(60)
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest_asyncio.fixture
async def database(clickhouse_server: EmbeddedServer) -> AsyncIterator[Database]:
    """A database of this test alone; dropped afterwards."""
    name = f"test_{next(_numbers)}"
    clients = [ClickHouse(endpoint_of(clickhouse_server, user, name)) for user in ("writer", "reader")]
    admin = ClickHouse(endpoint_of(clickhouse_server, "writer"))
    await admin.command(f"CREATE DATABASE {name}")
    try:
        yield Database(name, *clients)
    finally:
        await admin.command(f"DROP DATABASE {name} SYNC")
        for client in (*clients, admin):
            await client.close()
