"""Fixtures shared by all tests."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import pytest_asyncio

from otel_eval import logs
from otel_eval.service import Service
from tests import hop
from tests.sink import Sink

# In continuous integration the same examples each time: what is found there must be reproducible.
hypothesis.settings.register_profile("ci", derandomize=True)
if "CI" in os.environ:
    hypothesis.settings.load_profile("ci")

StartHop = Callable[..., Awaitable[Service]]
StartProcess = Callable[..., Awaitable[hop.HopProcess]]


@pytest_asyncio.fixture
async def sink() -> AsyncIterator[Sink]:
    """A backend that takes everything."""
    running = await Sink().start()
    yield running
    await running.stop()


@pytest_asyncio.fixture
async def start_hop(tmp_path: Path) -> AsyncIterator[StartHop]:
    """Start services in this process: `await start_hop(exporters, **sections)`; stopped after the test."""
    async with AsyncExitStack() as stack:

        async def start(exporters: dict[str, Any], **sections: Any) -> Service:
            service = await hop.start_service(tmp_path, hop.settings(tmp_path, exporters, **sections))
            stack.push_async_callback(service.stop, 0)
            return service

        yield start


@pytest_asyncio.fixture
async def start_process(tmp_path: Path) -> AsyncIterator[StartProcess]:
    """Start `otel-eval run` as a process: `await start_process(exporters, **sections)`; killed after the test."""
    async with AsyncExitStack() as stack:

        async def start(exporters: dict[str, Any], **sections: Any) -> hop.HopProcess:
            process = hop.HopProcess(tmp_path, hop.settings(tmp_path, exporters, **sections))
            await process.start()

            async def end() -> None:
                try:
                    await process.kill()
                except ProcessLookupError:
                    await process.wait()

            stack.push_async_callback(end)
            return process

        yield start


@pytest.fixture(autouse=True)
def log_lines_go_to_stderr() -> None:
    """As in the real command; by default structlog writes to stdout, which a test may take away."""
    logs.configure()
