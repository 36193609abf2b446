"""All checks of one configuration."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from otel_eval.clickhouse.exporter import ClickHouseExporter
from otel_eval.config import Loaded
from otel_eval.doctor import backends, clickhouse, clock, judge, machine, ports, storage
from otel_eval.doctor.clock import Clocks
from otel_eval.doctor.finding import Finding, ok, problem
from otel_eval.errors import OtelEvalError
from otel_eval.exporters.running import build_exporters
from otel_eval.judging import running
from otel_eval.sampling import policies


class _Check(NamedTuple):
    name: str
    run: Callable[[], Awaitable[Sequence[Finding]]]


async def examine(loaded: Loaded, timeout_s: float) -> list[Finding]:
    """Everything that is found, in a fixed order; no check may take longer than that."""
    config = loaded.config
    clocks = Clocks()
    checks = [
        _Check("configuration", lambda: _configuration(loaded)),
        _Check("ports", lambda: ports.check(config, timeout_s)),
        _Check("journal", lambda: asyncio.to_thread(storage.check, config.journal)),
    ]
    for name, settings in config.exporters.items():
        checks.append(_exporter(name, settings, clocks, timeout_s))
    checks.append(_Check("judge", lambda: judge.check(config, loaded.source, clocks, timeout_s)))
    checks += [_Check(name, look) for name, look in machine.checks(config)]
    found = await asyncio.gather(*(_limited(check, timeout_s) for check in checks))
    return [finding for findings in (*found, await clock.check(clocks)) for finding in findings]


def _exporter(name: str, settings: object, clocks: Clocks, timeout_s: float) -> _Check:
    key = f"exporter {name}"
    if isinstance(settings, ClickHouseExporter.Config):
        return _Check(key, lambda: clickhouse.check(name, settings, clocks, timeout_s))
    return _Check(key, lambda: backends.check(name, settings, clocks, timeout_s))


async def _limited(check: _Check, timeout_s: float) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(timeout_s):
            return await check.run()
    except TimeoutError:
        return [problem(check.name, f"no answer within {timeout_s:g} s; is something in the way, such as a firewall?")]
    except OtelEvalError as error:
        return [problem(check.name, str(error))]
    except Exception as error:  # noqa: BLE001 - one check that fails must not hide the others
        return [problem(check.name, f"cannot be checked: {type(error).__name__}; this is a defect of the doctor")]


async def _configuration(loaded: Loaded) -> list[Finding]:
    """Settings that load, and that exporters, policies and evaluators can work with."""
    with loaded.located():
        build_exporters(loaded.config)
        policies.build(loaded.config.sampling, {})
        running.check(loaded.config, loaded.source)
    notes = "".join(f"; {note}" for note in loaded.notes)
    return [ok("configuration", f"{loaded.source}: valid{notes}")]
