"""One client for every ClickHouse: a server, the embedded one, or an engine in this process."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from otel_eval import __version__
from otel_eval.clickhouse.directory import EngineDirectory, in_use
from otel_eval.clickhouse.endpoint import Endpoint, InProcess
from otel_eval.clickhouse.failures import UnreachableError, failure, unreachable
from otel_eval.clickhouse.server import check_version, installed_version
from otel_eval.errors import ConfigError, OtelEvalError, PermanentError, RetryableError

_CONNECT_TIMEOUT_S = 10.0
_REFUSED_LOGIN = (192, 193, 194, 195, 516)

Parameters = Mapping[str, Any]
Settings = Mapping[str, str | int | float | bool]


class Rows(NamedTuple):
    """What a query gave: the columns' names and types, and a tuple for each row. Times are aware of their zone."""

    names: tuple[str, ...]
    types: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]


class External(NamedTuple):
    """A table that goes with a statement and is gone behind it; `structure` as in CREATE TABLE, `body` in that format."""

    name: str
    structure: str
    fmt: str
    body: bytes


class ClickHouse:
    """Statements to one ClickHouse; connects when it is first used, and again when that failed.

    Every method may be called concurrently, since no session is shared, and raises RetryableError or PermanentError
    (TooLargeError when less would go) as `failures` says. No statement is ever sent twice. `parameters` fill
    `{name:Type}` on the server's side. An engine in this process does one thing after the other.
    """

    def __init__(self, where: Endpoint | InProcess, timeout_s: float = 60.0) -> None:
        self._where = where
        self._timeout_s = timeout_s
        self._client: Any = None
        self._connecting = asyncio.Lock()
        self._secrets: list[str] = []

    async def command(
        self,
        sql: str,
        parameters: Parameters | None = None,
        settings: Settings | None = None,
        external: External | None = None,
    ) -> None:
        """Run a statement that gives no rows."""
        await self._call("command", sql, **_named(parameters, settings, external))

    async def query(
        self,
        sql: str,
        parameters: Parameters | None = None,
        settings: Settings | None = None,
        external: External | None = None,
    ) -> Rows:
        """Run a query and read all of its rows."""
        result = await self._call("query", sql, **_named(parameters, settings, external))
        types = tuple(kind.name for kind in result.column_types)
        return Rows(tuple(result.column_names), types, result.result_rows)

    async def raw_query(
        self, sql: str, fmt: str, parameters: Parameters | None = None, settings: Settings | None = None
    ) -> bytes:
        """Run a query and return its result as ClickHouse writes that format, all of it: limit it in the settings."""
        answer: bytes = await self._call("raw_query", sql, fmt=fmt, **_named(parameters, settings))
        return answer

    async def insert_raw(
        self, table: str, body: bytes, fmt: str, settings: Settings | None = None, columns: Sequence[str] | None = None
    ) -> None:
        """Insert rows that are written in that format already; that something said 200 is not enough."""
        compression = self._compression()
        if compression is not None:
            body = await asyncio.to_thread(_compress, body)
        answer = await self._call(
            "raw_insert",
            table,
            column_names=columns,
            insert_block=memoryview(body),  # bytes would be copied, and sent again after a cut connection
            settings=dict(settings or {}),
            fmt=fmt,
            compression=compression,
            insert=True,
        )
        if isinstance(self._where, Endpoint) and not answer.query_id():
            raise UnreachableError(
                "the answer to an insert has no X-ClickHouse-Query-Id: something before ClickHouse gave it, or changed it"
            )

    async def insert_columns(
        self,
        table: str,
        columns: Mapping[str, Sequence[Any]],
        settings: Settings | None = None,
        column_types: Sequence[str] | None = None,
    ) -> None:
        """Insert Python values, a sequence for each column, all of one length.

        DateTime64 takes whole numbers of its unit. Without `column_types` they are asked for, which costs a query.
        """
        lengths = {len(values) for values in columns.values()}
        if lengths <= {0}:
            return
        if len(lengths) > 1:
            raise PermanentError("the columns have different numbers of rows")
        context = await self._call(
            "create_insert_context",
            table,
            column_names=list(columns),
            column_type_names=column_types,
            column_oriented=True,
        )
        body = await asyncio.to_thread(_native, context, list(columns.values()))
        await self.insert_raw(table, body, "Native", settings, list(columns))

    async def version(self) -> tuple[int, ...]:
        """The version of the server, such as (26, 9, 2, 1)."""
        client = await self._connected()
        return tuple(int(part) for part in client.server_version.split(".") if part.isdecimal())

    async def close(self) -> None:
        """Give up what is under way and close; may be called twice, and a later call connects anew."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _compression(self) -> str | None:
        return "lz4" if isinstance(self._where, Endpoint) and self._where.compression == "lz4" else None

    async def _connected(self) -> Any:
        async with self._connecting:
            if self._client is None:
                self._client = await self._translated(self._connect(), insert=False)
            return self._client

    async def _connect(self) -> Any:
        logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)  # its lines repeat what is raised, with data
        if isinstance(self._where, InProcess):
            return await asyncio.to_thread(_Engine, self._where.directory, self._where.database)
        self._secrets = [secret] if (secret := self._where.secret()) else []
        return await _server(self._where, secret, self._timeout_s)

    async def _call(self, method: str, *arguments: Any, insert: bool = False, **named: Any) -> Any:
        client = await self._connected()
        return await self._translated(getattr(client, method)(*arguments, **named), insert=insert)

    async def _translated(self, call: Any, *, insert: bool) -> Any:
        """The result of a call of the library, or its error as one of ours."""
        import aiohttp
        from clickhouse_connect.driver.exceptions import ClickHouseError, Error, OperationalError

        try:
            async with asyncio.timeout(self._timeout_s):
                return await call
        except OtelEvalError:
            raise
        except TimeoutError:
            raise RetryableError(f"ClickHouse gave no answer within {self._timeout_s:g} s") from None
        except OperationalError as error:
            if error.code is None and str(error).startswith("Network Error"):
                raise unreachable(error.__cause__ or error, self._secrets) from None
            raise failure(str(error), error.code, self._secrets, insert=insert) from None
        except ClickHouseError as error:
            code = error.code if isinstance(error, Error) else None
            if code in _REFUSED_LOGIN:
                await self.close()  # the next call reads the password again
            raise failure(str(error), code, self._secrets, insert=insert) from None
        except (aiohttp.ClientError, OSError) as error:
            raise unreachable(error, self._secrets) from None
        except (ValueError, TypeError, LookupError, ArithmeticError) as error:
            raise PermanentError(f"ClickHouse: the values cannot be sent or read: {type(error).__name__}") from None


async def _server(where: Endpoint, password: str, timeout_s: float) -> Any:
    """A client of the library, connected."""
    from clickhouse_connect.driver.asyncclient import AsyncClient

    tls = where.tls
    client = AsyncClient(
        interface="https" if where.secure else "http",
        host=where.host,
        port=where.port,
        username=where.user,
        password=password,
        database=where.database,
        compress="lz4" if where.compression == "lz4" else False,
        connect_timeout=_CONNECT_TIMEOUT_S,
        send_receive_timeout=timeout_s,
        client_name=f"otel_eval/{__version__}",
        verify=not tls.insecure_skip_verify,
        ca_cert=str(tls.ca_file) if tls.ca_file else None,
        client_cert=str(tls.cert_file) if tls.cert_file else None,
        client_cert_key=str(tls.key_file) if tls.key_file else None,
        tls_mode="strict",  # the certificate opens the connection, the password logs in
        server_host_name=tls.server_name_override,
        query_retries=0,
        tz_mode="aware",
        show_clickhouse_errors=True,
        autogenerate_session_id=False,
    )
    if where.is_local:
        client._backend.proxy_url = None  # an HTTP_PROXY of the environment cannot reach our loopback
    try:
        await client.__aenter__()
    except BaseException:
        await client.close()
        raise
    return client


def _named(parameters: Parameters | None, settings: Settings | None, external: External | None = None) -> dict[str, Any]:
    """As the library calls them; its engine in this process knows no external tables."""
    named: dict[str, Any] = {"parameters": dict(parameters or {}), "settings": dict(settings or {})}
    if external is not None:
        from clickhouse_connect.driver.external import ExternalData

        name, structure, fmt, body = external
        named["external_data"] = ExternalData(file_name=name, data=body, fmt=fmt, structure=structure)
    return named


def _compress(body: bytes) -> bytes:
    import lz4.frame  # type: ignore[import-untyped]

    compressed: bytes = lz4.frame.compress(body)
    return compressed


def _native(context: Any, columns: Sequence[Sequence[Any]]) -> bytes:
    """The values in ClickHouse's Native format, ready for the body of an insert."""
    from clickhouse_connect.driver.transform import NativeTransform

    context.compression = None
    body = b""
    try:
        context.data = columns
        body = b"".join(NativeTransform.build_insert(context))
        error = context.insert_exception
    except Exception as raised:  # noqa: BLE001 - whatever the codec raises, it is about these values
        error = raised
    if error is not None:
        column = f" of column {context.column_name}" if context.column_name else ""
        raise PermanentError(f"the values{column} do not fit: {type(error).__name__}") from None
    return body.partition(b"\n")[2]  # without the INSERT statement, which goes into the address


class _Engine:
    """The engine in this process: the methods of a connected client, each in a thread."""

    def __init__(self, path: Path, database: str | None) -> None:
        check_version(installed_version())
        if Path("config.xml").exists():
            raise ConfigError("config.xml: the engine would take its settings from here; work in another directory")
        self._directory = EngineDirectory(path)
        self._directory.prepare()
        if (owner := self._directory.try_lock()) is not None:
            raise in_use(path, owner)
        try:
            from clickhouse_connect.driver._chdbclient import ChdbClient

            self._client = ChdbClient(
                path=str(self._directory.data),
                database=database,
                settings={"async_insert": 0, "allow_python_table_function": 0},
                tz_mode="aware",
            )
        except BaseException:
            self._directory.unlock()
            raise

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._client, name)
        if not callable(attribute):
            return attribute

        async def call(*arguments: Any, **named: Any) -> Any:
            return await asyncio.to_thread(attribute, *arguments, **named)

        return call

    async def close(self) -> None:
        await asyncio.to_thread(self._client.close)
        self._directory.unlock()
