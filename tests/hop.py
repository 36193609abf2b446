"""A hop for tests: in this process (`start_service`), or as the real command in its own (`HopProcess`)."""

import asyncio
import itertools
import os
import random
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from otel_eval.config import load
from otel_eval.service import Service

_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_OURS = range(20_000 + _WORKER, 32_000, _WORKERS)
"""Of this test worker alone: between the choice of a port and its use, another would find it free too."""
_PORTS = itertools.cycle(random.sample(_OURS, len(_OURS)))
"""In an order of its own for each process; none comes twice within a test."""


def free_port() -> int:
    """A port on loopback that nobody listens on, and that the system does not give to outgoing connections."""
    for port in _PORTS:
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("there are no free ports")


def settings(directory: Path, exporters: dict[str, Any], **sections: Any) -> dict[str, Any]:
    """A configuration on free ports with its data below `directory`, retrying fast; sections are laid over it."""
    retry = {"initial_interval": "20ms", "max_interval": "100ms"}
    queue = {"batch": {"flush_timeout": "20ms"}}
    return {
        "receivers": {
            "otlp": {
                "protocols": {
                    "grpc": {"endpoint": f"127.0.0.1:{free_port()}"},
                    "http": {"endpoint": f"127.0.0.1:{free_port()}"},
                }
            }
        },
        "journal": {"directory": str(directory / "journal")},
        "exporters": {name: {"retry_on_failure": retry, "sending_queue": queue, **values} for name, values in exporters.items()},
        "judging": {"enabled": False},
        "api": {"endpoint": f"127.0.0.1:{free_port()}"},
        "telemetry": {"metrics": f"127.0.0.1:{free_port()}", "health": f"127.0.0.1:{free_port()}"},
        **sections,
    }


def otlp_to(sink_port: int, **values: Any) -> dict[str, Any]:
    """The settings of an `otlp` exporter to a sink."""
    return {"endpoint": f"127.0.0.1:{sink_port}", "tls": {"insecure": True}, "compression": "none", **values}


def write_config(directory: Path, config: dict[str, Any]) -> Path:
    file = directory / "config.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    return file


async def start_service(directory: Path, config: dict[str, Any]) -> Service:
    """A running service in this process; the caller stops it."""
    service = Service(load(str(write_config(directory, config))))
    await service.start()
    return service


class HopProcess:
    """`otel-eval run` as a child process; its stderr goes to `hop.log` in the directory."""

    def __init__(self, directory: Path, config: dict[str, Any]) -> None:
        self.directory = directory
        self.config = config
        self._process: asyncio.subprocess.Process | None = None

    @property
    def grpc(self) -> str:
        return str(self.config["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"])

    @property
    def http(self) -> str:
        return "http://" + str(self.config["receivers"]["otlp"]["protocols"]["http"]["endpoint"])

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self, timeout_s: float = 30.0, page: str = "readyz") -> None:
        """Start and wait until this page says that all is well."""
        file = write_config(self.directory, self.config)
        with open(self.directory / "hop.log", "ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "otel_eval", "run", "--config", str(file), stdout=log, stderr=log, cwd=self.directory
            )
        async with asyncio.timeout(timeout_s):
            while not await self.ready(page):
                if self._process.returncode is not None:
                    raise AssertionError(f"the hop did not start:\n{self.log()}")
                await asyncio.sleep(0.02)

    async def ready(self, page: str = "readyz") -> bool:
        try:
            return (await self.page("health", page))[0] == 200
        except aiohttp.ClientError:
            return False

    async def page(self, server: str, path: str) -> tuple[int, str]:
        """Status and text of a page of the health or metrics server."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{self.config['telemetry'][server]}/{path}") as response,
        ):
            return response.status, await response.text()

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric over the lines that have these labels."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        _, text = await self.page("metrics", "metrics")
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in text.splitlines()
            if line.split("{")[0].split(" ")[0] == f"otel_eval_{name}" and all(label in line for label in wanted)
        )

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    async def kill(self) -> None:
        """kill -9."""
        self.signal(signal.SIGKILL)
        await self.wait()

    async def stop(self) -> int:
        """SIGTERM, and the exit status."""
        self.signal(signal.SIGTERM)
        return await self.wait()

    async def wait(self) -> int:
        assert self._process is not None
        return await self._process.wait()

    def log(self) -> str:
        return (self.directory / "hop.log").read_text()
