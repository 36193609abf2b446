"""A real Collector with one of the configurations in collector_config/, on free ports, as a child process."""

import asyncio
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from tests.hop import free_port

FOLDER = Path(__file__).parent.parent.parent / "collector_config"
COLLECTOR = os.environ.get("OTELCOL") or shutil.which("otelcol-contrib")
ABSENT = "no otelcol-contrib is installed, and OTELCOL names none"


class CollectorProcess:
    """`name` is the file; `ports` are laid over it, so that several run on one machine, and nothing else is changed."""

    def __init__(self, name: str, directory: Path, receivers: dict[str, list[str]], variables: dict[str, str]) -> None:
        self._health = f"127.0.0.1:{free_port()}"
        self.addresses = {
            receiver: {protocol: f"127.0.0.1:{free_port()}" for protocol in protocols}
            for receiver, protocols in receivers.items()
        }
        prometheus = {"host": "127.0.0.1", "port": free_port()}
        ports: dict[str, Any] = {
            "receivers": {
                receiver: {"protocols": {protocol: {"endpoint": address} for protocol, address in protocols.items()}}
                for receiver, protocols in self.addresses.items()
            },
            "extensions": {"health_check": {"endpoint": self._health}},
            "service": {"telemetry": {"metrics": {"readers": [{"pull": {"exporter": {"prometheus": prometheus}}}]}}},
        }
        directory.mkdir(exist_ok=True)
        overlay = directory / "ports.yaml"
        overlay.write_text(yaml.safe_dump(ports))
        self._log = directory / "collector.log"
        self._command = [str(COLLECTOR), "--config", str(FOLDER / f"{name}.yaml"), "--config", str(overlay)]
        self._env = {**os.environ, "COLLECTOR_DATA": str(directory), "GATEWAY_HOST": "127.0.0.1", **variables}
        self._env["COLLECTOR_HOST"] = "127.0.0.1"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def grpc(self) -> str:
        return self.addresses["otlp"]["grpc"]

    async def start(self) -> "CollectorProcess":
        """Start and wait until it is healthy."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, env=self._env)
        async with asyncio.timeout(30), aiohttp.ClientSession() as session:
            while not await self._healthy(session):
                assert self._process.poll() is None, self._log.read_text()
                await asyncio.sleep(0.05)
        return self

    async def _healthy(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with session.get(f"http://{self._health}/") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Stop it with this signal, if it runs."""
        if self._process is not None:
            self._process.send_signal(number)
            await asyncio.to_thread(self._process.wait)
            self._process = None
