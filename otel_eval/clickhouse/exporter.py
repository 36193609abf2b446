"""The exporter `clickhouse`; see the package docstring."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

import structlog
from msgspec import DecodeError, Meta, field
from msgspec.structs import replace

from otel_eval.clickhouse import ledger, logs, raw, schema, scores, spans
from otel_eval.clickhouse.client import ClickHouse
from otel_eval.clickhouse.endpoint import EMBEDDED, Endpoint, InProcess, check_kind, endpoint_of, parse_endpoint
from otel_eval.clickhouse.failures import MissingError
from otel_eval.clickhouse.schema.present import relations
from otel_eval.clickhouse.server import EmbeddedServer, NoWayInError
from otel_eval.clickhouse.settings import WRITER
from otel_eval.config import ExporterConfig
from otel_eval.config.models import Batch, ClientTls, SendingQueue
from otel_eval.config.section import Section
from otel_eval.config.values import Duration, PositiveDuration, Secret
from otel_eval.errors import OtelEvalError, PermanentError, RetryableError, TooLargeError
from otel_eval.exporters import Message
from otel_eval.judging import scores as judged
from otel_eval.records import Kind, OwnKind, PartialSuccess
from otel_eval.sampling import ledger as counted

_log = structlog.get_logger(__name__)

DATABASE: Final = "otel"
_RAW_FROM: Final = (25, 9)
"""The first version of ClickHouse that takes raw requests."""
_EVERY_INSERT: Final = {
    "async_insert": 0,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    "throw_on_max_partitions_per_insert_block": 0,  # spans of a hundred days in one batch are refused for ever otherwise
}
_MAX_BODY_BYTES: Final = 16 << 20
"""Of one span with its resource: taking apart what is made of empty attributes needs thirty times the memory."""
_Days = Annotated[int, Meta(ge=0, le=36500)]
_Columns = Mapping[str, Sequence[Any]]


class Ttl(Section, frozen=True):
    """Days after which rows are deleted, 0 for never; of `traces` also the logs, of `ledger` also the outcomes."""

    traces: _Days = 0
    evaluations: _Days = 0
    ledger: _Days = 0


class _Insert(NamedTuple):
    """One insert: rows as columns, or requests as they came."""

    table: str
    rows: _Columns | bytes


class _Ready(NamedTuple):
    """A connection whose tables are there: their columns' types, and whether raw requests are taken."""

    client: ClickHouse
    types: Mapping[str, Mapping[str, str]]
    takes_raw: bool


class ClickHouseExporter:
    """Stores spans, log records, scores and the ledger, each batch once in effect; metrics it does not take."""

    class Config(ExporterConfig, frozen=True, kw_only=True):
        """`endpoint` is `embedded` (extra `otel-eval[embedded]`) or https://user@host:8443/database.

        The embedded server keeps its data and passwords in `directory` and listens on loopback, on `http_port` (0: the
        system chooses once). With `create_schema: false` somebody else applies what `otel-eval schema print` shows.
        """

        types: Annotated[tuple[Kind, ...], Meta(min_length=1)] = (Kind.TRACES, Kind.LOGS)
        max_message_bytes: Annotated[int, Meta(ge=1024, le=1 << 30)] = 16 << 20
        timeout: PositiveDuration = PositiveDuration(60)
        sending_queue: SendingQueue = field(
            default_factory=lambda: SendingQueue(2, Batch(flush_timeout=Duration(1), min_size_bytes=16 << 20, max_items=50_000))
        )
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
        self._ready: _Ready | None = None
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
            if self._client is client:
                raise  # nobody stopped the exporter: it is our caller that is cancelled
            raise _stopped() from None
        finally:
            self._under_way.discard(work)
        return PartialSuccess()

    async def _store(self, client: ClickHouse, message: Message) -> None:
        ready = self._ready or await self._prepare(client)
        try:
            for insert in await asyncio.to_thread(_inserts_of, message, takes_raw=ready.takes_raw):
                await self._insert(ready, insert, f"{message.id}-{insert.table}")
        except MissingError:
            self._ready = None  # what was there is there no more: another server, other tables
            raise

    async def shutdown(self) -> None:
        """See Exporter."""
        client, self._client, self._ready = self._client, None, None
        for work in self._under_way:
            work.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        if client is not None:
            await client.close()
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.stop()

    async def _prepare(self, client: ClickHouse) -> _Ready:
        async with self._preparing:
            if self._ready is not None:
                return self._ready
            try:
                self._ready = await self._look(client)
            except RetryableError:
                raise
            except OtelEvalError as error:  # nobody's data is to blame
                raise RetryableError(f"the tables cannot be made ready: {error}") from None
            return self._ready

    async def _look(self, client: ClickHouse) -> _Ready:
        target = self._target
        if self._config.create_schema and (done := await schema.apply(client, target)):
            _log.info("made in ClickHouse", database=target.database, made=", ".join(done))
        for problem in await schema.check(client, target):
            _log.warning("the tables in ClickHouse are not as expected", problem=problem)
        types = {table: await schema.columns(client, target.name(table)) for table in _TABLES}
        landing = "otel_traces_in" in await relations(client, target.database)
        is_server = (self._where or self._engine) is not None  # else our current directory would get the engine's __cache__
        return _Ready(client, types, takes_raw=landing and is_server and await client.version() >= _RAW_FROM)

    async def _insert(self, ready: _Ready, insert: _Insert, token: str) -> None:
        settings = _EVERY_INSERT | {"insert_deduplication_token": token}
        if self._config.cluster_name is not None:
            settings |= {"distributed_foreground_insert": 1}
        table = self._target.name(insert.table)
        if isinstance(insert.rows, bytes):
            await ready.client.insert_raw(table, insert.rows, raw.FORMAT, settings | raw.SETTINGS)
            return
        types = ready.types[insert.table]
        columns = {name: values for name, values in insert.rows.items() if name in types}
        await ready.client.insert_columns(table, columns, settings, [types[name] for name in columns])


_TABLES: Final = (
    "otel_traces", "otel_logs", "otel_evaluations", "otel_eval_judgements", "otel_eval_decisions", "otel_eval_traffic",
    "otel_eval_outcomes", "otel_eval_unmatched_feedback",
)  # fmt: skip


def _stopped() -> RetryableError:
    return RetryableError("the exporter is stopped")


def _inserts_of(message: Message, *, takes_raw: bool) -> list[_Insert]:
    """What a message becomes. Raises PermanentError for what cannot be read, such as a dead letter that was changed."""
    try:
        return list(_inserts(message, takes_raw=takes_raw))
    except DecodeError as error:
        raise PermanentError(f"not a record of the log {message.kind}: {error}") from None


def _inserts(message: Message, *, takes_raw: bool) -> Iterator[_Insert]:
    match message.kind:
        case Kind.TRACES:
            yield from _of_traces(message, takes_raw=takes_raw)
        case Kind.LOGS:
            yield _Insert("otel_logs", logs.columns(map(bytes, message.bodies)))
        case OwnKind.EVALUATIONS:
            found = [one for one in map(judged.decode, message.bodies) if one is not None]
            yield _Insert("otel_evaluations", scores.evaluations(found, message.hop))
            yield _Insert("otel_eval_judgements", scores.judgements(found, message.hop))
        case OwnKind.LEDGER:
            yield from _of_ledger(message)
        case _:
            raise PermanentError(f"ClickHouse gets no {message.kind}")


def _of_traces(message: Message, *, takes_raw: bool) -> Iterator[_Insert]:
    fitting: list[bytes] = []
    others: list[bytes] = []
    for body in map(bytes, message.bodies):
        if len(body) > _MAX_BODY_BYTES:
            raise TooLargeError(f"more than {_MAX_BODY_BYTES >> 20} MiB at once are not stored")
        (fitting if takes_raw and raw.fits(body) else others).append(body)
    if fitting:
        yield _Insert("otel_traces_in", b"".join(fitting))
    if others:
        yield _Insert("otel_traces", spans.columns(others))


def _of_ledger(message: Message) -> Iterator[_Insert]:
    entries = list(chain.from_iterable(map(counted.decode, message.bodies)))
    for table, kind, columns in _LEDGER:
        if found := [entry for entry in entries if isinstance(entry, kind)]:
            yield _Insert(table, columns(found, message.hop))


_LEDGER: Final[Sequence[tuple[str, type, Any]]] = (
    ("otel_eval_decisions", counted.Decided, ledger.decisions),
    ("otel_eval_traffic", counted.Traffic, ledger.traffic),
    ("otel_eval_outcomes", counted.OutcomeSeen, ledger.outcomes),
    ("otel_eval_unmatched_feedback", counted.Unmatched, ledger.unmatched),
)
