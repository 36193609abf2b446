"""TLS and bearer tokens of the receivers."""

import hmac
import ssl
from pathlib import Path

import grpc
import structlog

from otel_eval.config.models import BearerAuth, ServerTls
from otel_eval.config.values import ListenAddress
from otel_eval.errors import ConfigError

_log = structlog.get_logger(__name__)
_BEARER = b"bearer "


class BearerTokens:
    """The tokens that are accepted; a token file is read again when it changes, so tokens can be rotated.

    While the file is missing or holds no token, the old ones count: a sender that is turned away drops its data.
    """

    def __init__(self, config: BearerAuth, key: str) -> None:
        self._file = config.filename
        self._key = key
        self._read_at: tuple[int, ...] = ()
        self._problem: str | None = None
        self._tokens = [config.token.reveal().strip().encode()] if config.token else []
        if self._file is not None:
            self._read(self._file)

    def allows(self, authorization: bytes) -> bool:
        """Whether the value of an Authorization header shows one of the tokens; takes the same time for each mistake."""
        if self._file is not None:
            self._follow(self._file)
        if authorization[: len(_BEARER)].lower() != _BEARER:
            return False
        shown = authorization[len(_BEARER) :].strip()
        return any([hmac.compare_digest(shown, token) for token in self._tokens])

    def _follow(self, file: Path) -> None:
        """Take over a changed file; says once what is wrong with it."""
        problem = None
        try:
            self._read(file)
        except ConfigError as error:
            problem = str(error)
            if problem != self._problem:
                _log.error("keeping the old tokens", reason=problem)
        self._problem = problem

    def _read(self, file: Path) -> None:
        try:
            stat = file.stat()
            read_at = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
            if self._read_at == read_at:
                return
            tokens = [line.strip() for line in file.read_bytes().splitlines() if line.strip()]
        except OSError as error:
            raise ConfigError(f"{self._key}.auth.filename: {file} cannot be read: {error.strerror}") from None
        if not tokens:
            raise ConfigError(f"{self._key}.auth.filename: {file} holds no token")
        self._tokens, self._read_at = tokens, read_at


def ssl_context(tls: ServerTls, key: str) -> ssl.SSLContext:
    """The context of an HTTPS server; raises ConfigError for files that do not serve."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _pem(tls.cert_file, f"{key}.tls.cert_file")
    _pem(tls.key_file, f"{key}.tls.key_file")
    try:
        context.load_cert_chain(tls.cert_file, tls.key_file, password="")  # without one OpenSSL asks on the terminal
    except (OSError, ValueError) as error:
        raise ConfigError(f"{key}.tls: {tls.cert_file} with the key {tls.key_file} cannot be used: {error}") from None
    if tls.client_ca_file:
        _pem(tls.client_ca_file, f"{key}.tls.client_ca_file")
        try:
            context.load_verify_locations(tls.client_ca_file)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{key}.tls.client_ca_file: {tls.client_ca_file} cannot be used: {error}") from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def grpc_credentials(tls: ServerTls, key: str) -> grpc.ServerCredentials:
    """The same for a gRPC server."""
    ssl_context(tls, key)  # gRPC itself would only fail at the first handshake
    pair = (_pem(tls.key_file, f"{key}.tls.key_file"), _pem(tls.cert_file, f"{key}.tls.cert_file"))
    authority = _pem(tls.client_ca_file, f"{key}.tls.client_ca_file") if tls.client_ca_file else None
    return grpc.ssl_server_credentials([pair], authority, require_client_auth=authority is not None)


def _pem(file: Path, key: str) -> bytes:
    """The content of the file under this key; OpenSSL does not say which file it could not read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{key}: {file} cannot be read: {error.strerror}") from None


def warn_if_open(endpoint: ListenAddress, tls: ServerTls | None, auth: BearerAuth | None, key: str) -> None:
    """Say so when anybody on the network may send."""
    if not endpoint.is_loopback and auth is None and not (tls and tls.client_ca_file):
        _log.warning(
            "listening beyond this machine, and anybody may send",
            key=f"{key}.endpoint",
            endpoint=str(endpoint),
            hint="set auth, or tls with client_ca_file",
        )
