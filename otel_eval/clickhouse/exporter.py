"""The exporter `clickhouse`; see the package docstring."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

import structlog
from msgspec import Meta, field
from msgspec.structs import replace

from otel_eval.clickhouse import schema
from otel_eval.clickhouse.client import ClickHouse
from otel_eval.clickhouse.completing import complete
from otel_eval.clickhouse.endpoint import EMBEDDED, Endpoint, InProcess, check_kind, endpoint_of, parse_endpoint
from otel_eval.clickhouse.failures import MissingError
from otel_eval.clickhouse.inserts import inserts
from otel_eval.clickhouse.server import EmbeddedServer, NoWayInError
from otel_eval.clickhouse.settings import WRITER
from otel_eval.clickhouse.tables import Tables, find
from otel_eval.config import ExporterConfig
from otel_eval.config.models import Batch, ClientTls, Positive, SendingQueue
from otel_eval.config.section import Section
from otel_eval.config.values import Duration, PositiveDuration, Secret
from otel_eval.errors import OtelEvalError, RetryableError
from otel_eval.exporters import Message
from otel_eval.records import Kind, OwnKind, PartialSuccess

_log = structlog.get_logger(__name__)

DATABASE: Final = "otel"
_Days = Annotated[int, Meta(ge=0, le=36500)]


class Ttl(Section, frozen=True):
    """Days after which rows are deleted, 0 for never; of `traces` also the logs, of `ledger` also the outcomes."""

    traces: _Days = 0
    evaluations: _Days = 0
    ledger: _Days = 0


class LargeBatch(Batch, frozen=True):
    """As of every exporter, with other defaults."""

    flush_timeout: Duration = Duration(5)
    min_size_bytes: Positive = 16 << 20
    max_items: Positive = 50_000


class FewInserts(SendingQueue, frozen=True):
    """As of every exporter, with other defaults."""

    num_consumers: Annotated[int, Meta(ge=1, le=64)] = 2
    batch: LargeBatch = field(default_factory=LargeBatch)


class ClickHouseExporter:
    """Stores spans, log records, scores and the ledger, each batch once in effect; metrics it does not take."""

    class Config(ExporterConfig, frozen=True, kw_only=True):
        """`endpoint` is `embedded` (extra `otel-eval[embedded]`) or https://user@host:8443/database.

        The embedded server keeps its data and passwords in `directory` and listens on loopback, on `http_port` (0: the
        system chooses once). With `create_schema: false` somebody else applies what `otel-eval schema print` shows. Rows
        are there `flush_timeout` late; each insert costs the server 20 to 70 ms of CPU, however small it is.
        """

        types: Annotated[tuple[Kind, ...], Meta(min_length=1)] = (Kind.TRACES, Kind.LOGS)
        max_message_bytes: Annotated[int, Meta(ge=1024, le=1 << 30)] = 16 << 20
        timeout: PositiveDuration = PositiveDuration(60)
        sending_queue: FewInserts = field(default_factory=FewInserts)
        endpoint: str = EMBEDDED
        password: Secret | None = None
        password_file: Path | None = None
        tls: ClientTls = field(default_factory=ClientTls)
        compression: Literal["lz4", "none"] = "lz4"
        directory: Path = Path("otel-eval-data/clickhouse")
        http_port: Annotated[int, Meta(ge=0, le=65535)] = 0
        max_memory_mib: Annotated[int, Meta(ge=256)] = 1500
        create_schema: bool = True
        cluster_name: str | None = None
        replicated: bool = False
        ttl_days: Ttl = field(default_factory=Ttl)

        def __post_init__(self) -> None:
            if Kind.METRICS in self.types:
                raise ValueError("types: expected traces, logs or both: metrics are not stored")
            own: dict[str, object] = {"cluster_name": self.cluster_name, "replicated": self.replicated or None}
            check_kind(self.endpoint, own | {"password": self.password, "password_file": self.password_file})

        @property
        def kinds(self) -> Sequence[Kind | OwnKind]:
            """See ExporterConfig."""
            return (*self.types, OwnKind.LEDGER, OwnKind.EVALUATIONS)

        @property
        def reads_files(self) -> bool:
            """See ExporterConfig: certificates and passwords are renewed."""
            return bool(self.tls.ca_file or self.tls.cert_file or self.password_file)

        def server(self, key: str) -> Endpoint | None:
            """The server that `endpoint` names, None for the embedded one; raises ConfigError, which names `key`."""
            if self.endpoint == EMBEDDED:
                return None
            return parse_endpoint(f"{key}.endpoint", self.endpoint, self.password, self.password_file, self.tls, self.compression)

        def target(self, key: str) -> schema.Target:
            """Where the tables are; raises ConfigError, which names `key`."""
            server = self.server(key)
            return schema.Target(
                database=(server.database if server is not None else None) or DATABASE,
                cluster=self.cluster_name,
                replicated=self.replicated,
                traces_ttl_days=self.ttl_days.traces,
                evaluations_ttl_days=self.ttl_days.evaluations,
                ledger_ttl_days=self.ttl_days.ledger,
            )

    def __init__(self, name: str, config: Config) -> None:
        self._config = config
        self._where = config.server(f"exporters.{name}")
        self._target = config.target(f"exporters.{name}")
        self._engine: EmbeddedServer | None = None
        self._client: ClickHouse | None = None
        self._tables: Tables | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._preparing = asyncio.Lock()

    @property
    def targets(self) -> Mapping[str, tuple[str, int]]:
        """See Exporter."""
        return {} if self._where is None else {"endpoint": (self._where.host, self._where.port)}

    async def start(self) -> None:
        """Start the embedded server, or make the client, which connects when it is first used."""
        where = self._where or await self._start_embedded()
        # Without the database: it may have to be made first, and a server refuses every request that names a missing one.
        self._client = ClickHouse(replace(where, database=None), self._config.timeout)

    async def _start_embedded(self) -> Endpoint | InProcess:
        config = self._config
        memory = config.max_memory_mib << 20
        engine = EmbeddedServer(config.directory, config.http_port, max_memory_bytes=memory, database=self._target.database)
        try:
            await engine.start()
        except NoWayInError as error:
            _log.warning("ClickHouse is inside this process: nobody can query until the hop stops", reason=str(error))
            return InProcess(config.directory)
        self._engine, where = engine, endpoint_of(engine, WRITER)
        _log.info("the embedded ClickHouse listens", http=f"{where.host}:{where.port}", directory=str(config.directory))
        return where

    async def export(self, message: Message) -> PartialSuccess:
        """See Exporter. Tables that are missing are made, or waited for."""
        client = self._client
        if client is None:
            raise _stopped()
        work = asyncio.create_task(self._store(client, message))
        self._under_way.add(work)
        try:
            await work
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if self._client is client or (caller is not None and caller.cancelling()):
                raise  # it is our caller that is cancelled, which must not go on
            raise _stopped() from None
        finally:
            self._under_way.discard(work)
        return PartialSuccess()

    async def _store(self, client: ClickHouse, message: Message) -> None:
        tables = self._tables or await self._prepare(client)
        replacing = isinstance(message.kind, OwnKind)  # the engine of their tables: rows that come again replace themselves
        try:
            for insert in await asyncio.to_thread(inserts, message, takes_raw=tables.takes_raw):
                await tables.insert(insert, None if replacing and message.again else f"{message.id}-{insert.table}")
            if message.again:
                await complete(tables, message)
        except MissingError:
            self._tables = None  # what was there is there no more: another server, other tables
            raise

    async def shutdown(self) -> None:
        """See Exporter."""
        client, self._client, self._tables = self._client, None, None
        for work in self._under_way:
            work.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        if client is not None:
            await client.close()
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.stop()

    async def _prepare(self, client: ClickHouse) -> Tables:
        async with self._preparing:
            if self._tables is not None:
                return self._tables
            try:
                self._tables = await self._look(client)
            except RetryableError:
                raise
            except OtelEvalError as error:  # nobody's data is to blame
                raise RetryableError(f"the tables cannot be made ready: {error}") from None
            return self._tables

    async def _look(self, client: ClickHouse) -> Tables:
        target = self._target
        if self._config.create_schema and (done := await schema.apply(client, target)):
            _log.info("made in ClickHouse", database=target.database, made=", ".join(done))
        for problem in await schema.check(client, target):
            _log.warning("the tables in ClickHouse are not as expected", problem=problem)
        return await find(client, target, is_server=(self._where or self._engine) is not None)


def _stopped() -> RetryableError:
    return RetryableError("the exporter is stopped")
