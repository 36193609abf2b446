"""A clickhouse exporter: the server with its version, tables and grants, or what the embedded one needs."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from otel_eval.clickhouse import schema
from otel_eval.clickhouse.client import ClickHouse
from otel_eval.clickhouse.confinement import available
from otel_eval.clickhouse.directory import EngineDirectory
from otel_eval.clickhouse.endpoint import Endpoint
from otel_eval.clickhouse.exporter import ClickHouseExporter
from otel_eval.clickhouse.schema.present import relations
from otel_eval.clickhouse.schema.target import identifier
from otel_eval.clickhouse.server import check_version, installed_version
from otel_eval.clickhouse.settings import WRITER
from otel_eval.doctor.clock import Clocks
from otel_eval.doctor.finding import Finding, Status, ok, problem, warning
from otel_eval.doctor.reaching import Place, connect, headers
from otel_eval.doctor.storage import free_bytes, unwritable
from otel_eval.errors import ConfigError, OtelEvalError, PermanentError
from otel_eval.exporters.otlp import ssl_context

_OLDEST: Final = (24, 10)
_RAW_FROM: Final = (25, 9)
_OTHERS_MAY_WRITE: Final = 0o022
_LEAST_FREE: Final = 1 << 30
_MAKES: Final = ("CREATE TABLE", "CREATE VIEW", "INSERT", "SELECT")


async def check(name: str, settings: ClickHouseExporter.Config, clocks: Clocks, timeout_s: float) -> Sequence[Finding]:
    """Findings about one exporter."""
    key = f"exporter {name}"
    server = settings.server(f"exporters.{name}")
    if server is None:
        return await _embedded(key, name, settings, timeout_s)
    context = ssl_context(f"exporters.{name}", server.tls) if server.secure else None
    place = Place(server.host, server.port, context, server.tls.server_name_override)
    reached = await connect(key, place, timeout_s / 3)
    if any(one.status is Status.PROBLEM for one in reached):
        return reached
    asked_at = time.time()
    url = f"{'https' if server.secure else 'http'}://{place}/ping"
    clocks.note(key, await headers(url, context or True, timeout_s / 4), asked_at)
    return [*reached, *await _server(key, name, settings, server, timeout_s / 3)]


async def _embedded(key: str, name: str, settings: ClickHouseExporter.Config, timeout_s: float) -> list[Finding]:
    version = installed_version()
    check_version(version)
    found = [ok(key, f"chdb-core {version} is installed")]
    if not available():
        found.append(warning(key, "there is no Landlock here: the reader of the embedded ClickHouse can read this user's files"))
    listening = EngineDirectory(settings.directory).listening()
    if listening is None:
        return [*found, _directory(key, settings.directory.absolute())]
    found.append(ok(key, f"{settings.directory}: its server runs (process {listening.pid}), port {listening.http_port}"))
    password = EngineDirectory(settings.directory).passwords()[WRITER]
    server = Endpoint(listening.host, listening.http_port, WRITER, password, compression="none", is_local=True)
    return [*found, *await _server(key, name, settings, server, timeout_s / 2)]


def _directory(key: str, directory: Path) -> Finding:
    if (reason := unwritable(directory)) is not None:
        return problem(key, f"{directory} cannot be written: {reason}; choose another directory")
    if directory.exists():
        status = directory.stat()
        if status.st_uid != os.geteuid() or status.st_mode & _OTHERS_MAY_WRITE:
            return problem(key, f"{directory}: others can write here, and so change the engine; use a directory of your own")
    free = free_bytes(directory)
    if free < _LEAST_FREE:
        return warning(key, f"{directory}: only {free >> 20} MiB are free for the embedded ClickHouse; make room")
    return ok(key, f"{directory} can be used, with {free >> 20} MiB free")


async def _server(key: str, name: str, settings: ClickHouseExporter.Config, server: Endpoint, timeout_s: float) -> list[Finding]:
    client = ClickHouse(replace(server, database=None), timeout_s)  # the database may have to be made
    try:
        return await _asked(key, settings, settings.target(f"exporters.{name}"), client)
    except ConfigError:
        raise
    except OtelEvalError as error:
        return [problem(key, f"{error}; is it ClickHouse's HTTP port, and are user and password right?")]
    finally:
        await client.close()


async def _asked(key: str, settings: ClickHouseExporter.Config, target: schema.Target, client: ClickHouse) -> list[Finding]:
    version = await client.version()
    shown = ".".join(map(str, version))
    if version < _OLDEST:
        return [problem(key, f"ClickHouse {shown} is too old; {'.'.join(map(str, _OLDEST))} is needed")]
    slower = "; before 25.9 spans are taken apart here, which costs several times the CPU" if version < _RAW_FROM else ""
    found = [ok(key, f"ClickHouse {shown} takes our user{slower}")]
    present = await relations(client, target.database)
    problems = await schema.check(client, target) if present else []
    missing = not present or any("missing, or hidden" in one for one in problems)
    if missing and not settings.create_schema:
        found.append(problem(key, f"{target.database}: tables are missing; let an administrator run `otel-eval schema print`"))
    elif missing and (lacking := await _lacking(client, target.database)):
        found.append(problem(key, f"{target.database}: to make the missing tables this user lacks {', '.join(lacking)}"))
    elif missing:
        found.append(ok(key, f"{target.database}: the tables that are missing are made when a hop runs"))
    else:
        found.append(ok(key, f"{target.database}: the tables are there"))
    found += [_told(key, one, settings) for one in problems if "missing, or hidden" not in one]
    return found + [warning(key, note) for note in (await schema.notes(client, target) if present else [])]


def _told(key: str, text: str, settings: ClickHouseExporter.Config) -> Finding:
    """What a schema check says; a hop with `create_schema` sets the Collector's tables right itself."""
    if settings.create_schema and "deduplication window is off" in text:
        return warning(key, f"{text}; a hop turns it on when it connects")
    return problem(key, text)


async def _lacking(client: ClickHouse, database: str) -> list[str]:
    """The rights that making the tables takes and this user has not; servers that do not tell are believed."""
    lacking = []
    for right in _MAKES:
        try:
            granted = (await client.query(f"CHECK GRANT {right} ON {identifier(database)}.*")).rows[0][0]
        except PermanentError:
            return []
        if not granted:
            lacking.append(right)
    return lacking
