"""Where a ClickHouse is: a server, the embedded one, or a directory that is opened in this process."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

import msgspec

from otel_eval.clickhouse.directory import EngineDirectory
from otel_eval.clickhouse.server import EmbeddedServer
from otel_eval.clickhouse.settings import READER
from otel_eval.config.models import ClientTls
from otel_eval.config.values import Secret
from otel_eval.errors import ConfigError, RetryableError
from otel_eval.exporters.otlp import ssl_context

EMBEDDED: Final = "embedded"
_EXPECTED = "expected https://user@host:8443/database"


class Endpoint(msgspec.Struct, frozen=True):
    """A server that speaks ClickHouse's HTTP interface.

    `database` is the one that names without a database are looked for in; None is the user's own. The password is
    read from `password_file` at each connection, so it may be renewed. `is_local` means the embedded server: no
    compression and no proxy.
    """

    host: str
    port: int
    user: str
    password: Secret | None = None
    password_file: Path | None = None
    database: str | None = None
    secure: bool = False
    tls: ClientTls = ClientTls()
    compression: Literal["lz4", "none"] = "lz4"
    is_local: bool = False

    def secret(self) -> str:
        """The password, "" for none; raises RetryableError when its file cannot be read, which may be being replaced."""
        if self.password_file is None:
            return self.password.reveal() if self.password is not None else ""
        try:
            return self.password_file.read_text().strip()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise RetryableError(f"{self.password_file}: the password cannot be read: {reason}") from None


class InProcess(msgspec.Struct, frozen=True):
    """The directory of an embedded ClickHouse, opened in this process: for one command, while no server has it."""

    directory: Path
    database: str | None = None


def check_kind(endpoint: str, of_servers: Mapping[str, object]) -> None:
    """Raise ValueError for what is neither `embedded` nor a URL, and for settings that the embedded server does not have."""
    if endpoint != EMBEDDED:
        if "://" not in endpoint:  # not shown: what is misspelt may hold a password
            raise ValueError(f"endpoint: expected {EMBEDDED}, or https://user@host:8443/database")
    elif given := [name for name, value in of_servers.items() if value is not None]:
        raise ValueError(f"{', '.join(given)}: only with an endpoint https://user@host:8443/database, not with {EMBEDDED}")


def parse_endpoint(
    key: str,
    text: str,
    password: Secret | None = None,
    password_file: Path | None = None,
    tls: ClientTls | None = None,
    compression: Literal["lz4", "none"] = "lz4",
) -> Endpoint:
    """Read `https://user@host:8443/database`; raises ConfigError, which names `key`, for anything else.

    The user is `default` and the port 8443 (http: 8123) unless the URL names others. The password never stands in it.
    """
    tls = tls or ClientTls()
    try:
        url = urlsplit(text)
        host, port = url.hostname or "", url.port
        has_password = url.password is not None
    except ValueError:
        raise ConfigError(f"{key}: {_EXPECTED}") from None
    if has_password:
        raise ConfigError(f"{key}: the password does not belong into the endpoint; use password or password_file")
    if url.scheme not in ("http", "https") or not host or url.query or url.fragment or "/" in url.path.strip("/"):
        raise ConfigError(f"{key}: {_EXPECTED}")  # not the text: what is misspelt may hold a password
    if password is not None and password_file is not None:
        raise ConfigError(f"{key}: expected either password or password_file")
    secure = url.scheme == "https"
    if secure:
        ssl_context(key, tls)  # unusable files are found here, not at the first request
    endpoint = Endpoint(
        host=host,
        port=port or (8443 if secure else 8123),
        user=unquote(url.username or "default"),
        password=password,
        password_file=password_file,
        database=unquote(url.path.strip("/")) or None,
        secure=secure,
        tls=tls,
        compression=compression,
    )
    try:
        endpoint.secret()
    except RetryableError as error:
        raise ConfigError(f"{key}: {error}") from None
    return endpoint


def endpoint_of(server: EmbeddedServer, user: str, database: str | None = None) -> Endpoint:
    """The embedded server that runs in this process, as `writer` or `reader`."""
    return _local(server.host, server.http_port, user, server.passwords[user], database)


def running(directory: Path, database: str | None = None) -> Endpoint | None:
    """The embedded server that another process runs in that directory, as the reader; None when there is none.

    Raises ConfigError when the directory is not ours to read, or is opened by a process without a server.
    """
    engine = EngineDirectory(directory)
    listening = engine.listening()
    if listening is None:
        return None
    path = engine.path / f"{READER}.password"
    with contextlib.suppress(OSError, ValueError):
        return _local(listening.host, listening.http_port, READER, Secret(path.read_text().strip()), database)
    raise ConfigError(f"{path}: the password cannot be read")


def _local(host: str, port: int, user: str, password: Secret, database: str | None) -> Endpoint:
    return Endpoint(host, port, user, password, database=database, compression="none", is_local=True)
