"""The two processes of the demo: `otel-eval run` with a configuration of its own, and the stand-in for the judge's API."""

import asyncio
import contextlib
import os
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Final, Self

import aiohttp
import yaml

from otel_eval.errors import OtelEvalError

CLICKHOUSE: Final = "clickhouse"
"""The directory of the embedded server, below that of the run."""

REAL_BUDGET_USD: Final = 0.5
_EVALUATORS: Final = [
    "answered", "refusal", "tool_success", "tool_call_validity", "tool_efficiency", "grounded_numbers", "pii_leak", "latency",
    "cost", {"rubric": "quality_4d"},
]  # fmt: skip
_BEHAVIOUR: Final = {
    "latency": {"median_s": 0.15, "sigma": 0.5, "max_s": 2.0},
    "limits": {"requests": 40_000, "input_tokens": 100_000_000, "output_tokens": 20_000_000},
}
_START_S: Final = 60.0
_STOP_S: Final = 20.0


class DemoError(OtelEvalError):
    """A part of the demo did not do what it should; the text is for a person."""


class Rates:
    """With which probability traces are judged: many by the stand-in, which is free, few by a real model."""

    def __init__(self, *, real: bool) -> None:
        self.baseline, self.day, self.signal = (0.02, 0.1, 0.25) if real else (0.1, 0.35, 1.0)


def configuration(directory: Path, judge_url: str | None) -> dict[str, Any]:
    """A configuration on free ports with its data below the directory. Without a URL the real API is asked."""
    from otel_eval.config.sampling import FAILURE_SIGNALS

    rates = Rates(real=judge_url is None)
    grpc, http, api, metrics, health = (f"127.0.0.1:{port}" for port in free_ports(5))
    asked = {"provider": {"api_key": "any", "base_url": judge_url}} if judge_url else {"budget": {"usd_per_day": REAL_BUDGET_USD}}
    return {
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": grpc}, "http": {"endpoint": http}}}},
        "journal": {"directory": str(directory / "journal")},
        "traces": {"quiet_period": "1s", "idle_timeout": "20s"},
        "sampling": {
            "baseline": {"rate": rates.baseline},
            "strata": {"by": ["shop.day"], "rates": {"*": rates.day}},
            "signals": dict.fromkeys(FAILURE_SIGNALS, rates.signal),
        },
        "judging": {"evaluators": _EVALUATORS, **asked},
        "exporters": {
            "clickhouse": {"directory": str(directory / CLICKHOUSE), "sending_queue": {"batch": {"flush_timeout": "1s"}}}
        },
        "api": {"endpoint": api},
        "telemetry": {"metrics": metrics, "health": health},
    }


def free_ports(count: int) -> list[int]:
    """Ports on loopback that nobody listens on now."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class StandInProcess:
    """The stand-in with the verdicts of `standin.grounding`; `url` is where it listens."""

    def __init__(self, directory: Path) -> None:
        self.url = ""
        self._directory = directory
        self._process: Process | None = None

    async def __aenter__(self) -> Self:
        """Raises DemoError."""
        file = self._directory / "standin.yaml"
        file.write_text(yaml.safe_dump(_BEHAVIOUR))
        options = ("--seed", "7", "--behaviour", str(file), "--verdict", "otel_eval.standin.grounding:verdict")
        with open(self._directory / "standin.log", "wb") as log:  # noqa: ASYNC230
            self._process = await _start("otel_eval.standin", *options, stdout=PIPE, stderr=log)
        output = self._process.stdout
        line = await asyncio.wait_for(output.readline(), _START_S) if output is not None else b""
        self.url = line.decode(errors="replace").strip().rpartition(" ")[2]
        if not self.url.startswith("http"):
            raise DemoError(f"the stand-in did not start: see {log.name}")
        return self

    async def __aexit__(self, *_: object) -> None:
        await _end(self._process)


class HopProcess:
    """`otel-eval run`, with a file written from `settings`; its log is `hop.log` in the directory."""

    def __init__(self, directory: Path, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.file = directory / "otel-eval.yaml"
        self._log = directory / "hop.log"
        self._process: Process | None = None
        self._session: aiohttp.ClientSession | None = None

    @property
    def grpc(self) -> str:
        """Where it takes OTLP/gRPC."""
        return str(self.settings["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"])

    async def __aenter__(self) -> Self:
        """Start it and wait until it is ready; raises DemoError."""
        self.file.write_text(yaml.safe_dump(self.settings, sort_keys=False))
        with open(self._log, "wb") as log:  # noqa: ASYNC230
            self._process = await _start("otel_eval", "run", "--config", str(self.file), stdout=log, stderr=log)
        self._session = aiohttp.ClientSession()
        try:
            async with asyncio.timeout(_START_S):
                while not await self._ready():
                    if self._process.returncode is not None:
                        raise DemoError(f"the hop did not start:\n{self._log.read_text(errors='replace')[-2000:]}")
                    await asyncio.sleep(0.05)
        except TimeoutError:
            await self.__aexit__()
            raise DemoError(f"the hop was not ready within {_START_S:.0f} s: see {self._log}") from None
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
        await _end(self._process)

    async def metrics(self) -> "Metrics":
        """What it counts now."""
        return Metrics(await self._answer("GET", f"http://{self.settings['telemetry']['metrics']}/metrics"))

    async def tell(self, feedback: Mapping[str, Any]) -> None:
        """Post one opinion to the API."""
        await self._answer("POST", f"http://{self.settings['api']['endpoint']}/v1/feedback", feedback)

    async def _answer(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> str:
        """The text of a page; raises DemoError."""
        try:
            async with self._client.request(method, url, json=body) as response:
                if response.status != 200:
                    raise DemoError(f"{url}: status {response.status}")
                return await response.text()
        except aiohttp.ClientError as error:
            raise DemoError(f"the hop does not answer ({type(error).__name__}): see {self._log}") from None

    @property
    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise DemoError("the hop is not running")
        return self._session

    async def _ready(self) -> bool:
        url = f"http://{self.settings['telemetry']['health']}/readyz"
        try:
            async with self._client.get(url) as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False


class Metrics:
    """A page of metrics in the Prometheus text format."""

    def __init__(self, text: str) -> None:
        self._lines = [line for line in text.splitlines() if not line.startswith("#")]

    def total(self, name: str, **labels: str) -> float:
        """The sum over the lines of that name, without its prefix, that have these labels."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(
            float(line.rpartition(" ")[2])
            for line in self._lines
            if line.partition(" ")[0].partition("{")[0] == f"otel_eval_{name}" and all(label in line for label in wanted)
        )


async def _start(module: str, *arguments: str, stdout: int | IO[bytes], stderr: IO[bytes]) -> Process:
    """Run a module that ends when we do. Ctrl-C is for us alone: what is under way is finished before it ends."""
    line = (sys.executable, "-m", "otel_eval.demo.child", module, *arguments)
    return await asyncio.create_subprocess_exec(*line, stdin=PIPE, stdout=stdout, stderr=stderr, start_new_session=True)


async def _end(process: Process | None) -> None:
    if process is None or process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()


def real_judge() -> bool:
    """Whether there is a key for the real API."""
    return bool(os.environ.get("ANTHROPIC_API_KEY"))
