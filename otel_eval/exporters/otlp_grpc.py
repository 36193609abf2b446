"""OTLP/gRPC to a backend.

Calls run in threads on gRPC's blocking client: its asyncio client compresses in the event loop, which held every
sender up for 30 ms a MiB of gzip; in a thread it is done without the interpreter's lock (measured: the loop is never
late by more than 5 ms).
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from otel_eval.config.models import ClientTls, OtlpExporterConfig
from otel_eval.errors import ConfigError, OtelEvalError, PermanentError, RetryableError, TooLargeError
from otel_eval.exporters.otlp import MAX_RESPONSE_BYTES, USER_AGENT, parse_endpoint, partial_success
from otel_eval.records import Kind, PartialSuccess

_Code = grpc.StatusCode
_RETRYABLE = frozenset(
    {_Code.CANCELLED, _Code.DEADLINE_EXCEEDED, _Code.ABORTED, _Code.OUT_OF_RANGE, _Code.UNAVAILABLE, _Code.DATA_LOSS}
)


class OtlpGrpcExporter:
    """Sends over one gRPC channel."""

    class Config(OtlpExporterConfig, frozen=True, kw_only=True):
        """`endpoint` is host:port, or a URL whose scheme says whether to use TLS."""

        endpoint: str

    def __init__(self, name: str, config: Config) -> None:
        self._config = config
        self._key = f"exporters.{name}"
        self._endpoint = parse_endpoint(f"{self._key}.endpoint", config.endpoint, config.tls, 4317, scheme_needed=False)
        self._metadata = tuple((key.lower(), value.reveal()) for key, value in config.headers.items())
        self._compression = grpc.Compression.Gzip if config.compression == "gzip" else grpc.Compression.NoCompression
        if config.tls.insecure_skip_verify:
            raise ConfigError(f"{self._key}.tls.insecure_skip_verify: gRPC cannot skip it; give the authority as ca_file")
        self._threads: ThreadPoolExecutor | None = None
        self._channel: grpc.Channel | None = None

    @property
    def target(self) -> tuple[str, int]:
        """See Exporter."""
        return self._endpoint.host, self._endpoint.port

    async def start(self) -> None:
        """Open the channel; it connects when it is first used."""
        config = self._config
        options: list[tuple[str, Any]] = [
            ("grpc.primary_user_agent", USER_AGENT),
            ("grpc.max_receive_message_length", MAX_RESPONSE_BYTES),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_reconnect_backoff_ms", 5000),  # two minutes by default: too long after an outage
        ]
        if config.tls.server_name_override:
            options.append(("grpc.ssl_target_name_override", config.tls.server_name_override))
        host = f"[{self._endpoint.host}]" if ":" in self._endpoint.host else self._endpoint.host
        address = f"{host}:{self._endpoint.port}"
        if self._endpoint.secure:
            self._channel = grpc.secure_channel(address, self._credentials(config.tls), options)
        else:
            self._channel = grpc.insecure_channel(address, options)
        self._calls: dict[Kind, Any] = {kind: self._channel.unary_unary(f"/{kind.service}/Export") for kind in Kind}
        self._threads = ThreadPoolExecutor(config.sending_queue.num_consumers * len(config.types), thread_name_prefix=self._key)

    async def export(self, kind: Kind, body: bytes) -> PartialSuccess:
        """See Exporter."""
        if self._threads is None:
            raise RetryableError("the exporter is stopped")
        try:
            response = await asyncio.get_running_loop().run_in_executor(self._threads, self._call, kind, body)
        except grpc.RpcError as error:
            raise _error_of(error) from None
        except ValueError as error:  # the channel was closed under the call
            raise RetryableError(str(error)) from None
        return partial_success(response)

    async def shutdown(self) -> None:
        """See Exporter."""
        if self._channel is not None:
            self._channel.close()  # ends calls that are under way as CANCELLED
            self._channel = None
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    def _call(self, kind: Kind, body: bytes) -> bytes:
        response: bytes = self._calls[kind](
            body, timeout=self._config.timeout, metadata=self._metadata, compression=self._compression
        )
        return response

    def _credentials(self, tls: ClientTls) -> grpc.ChannelCredentials:
        files = {"ca_file": tls.ca_file, "key_file": tls.key_file, "cert_file": tls.cert_file}
        return grpc.ssl_channel_credentials(*(self._content(name, file) for name, file in files.items()))

    def _content(self, name: str, file: Path | None) -> bytes | None:
        try:
            return file.read_bytes() if file else None
        except OSError as error:
            raise ConfigError(f"{self._key}.tls.{name}: {file} cannot be read: {error.strerror}") from None


def _error_of(error: Any) -> OtelEvalError:
    """The OTLP meaning of a gRPC status; see the package docstring for what differs from the specification."""
    code = error.code()
    message = f"{code.name}: {error.details()}"
    retry_after_s = _retry_delay(error.trailing_metadata() or ())
    if code in _RETRYABLE or code is _Code.UNAUTHENTICATED or (code is _Code.RESOURCE_EXHAUSTED and retry_after_s is not None):
        return RetryableError(message, retry_after_s)
    if code is _Code.RESOURCE_EXHAUSTED:
        return TooLargeError(message)
    return PermanentError(message, blames_request=code is not _Code.UNIMPLEMENTED)


def _retry_delay(metadata: Any) -> float | None:
    """Seconds of the RetryInfo in a status, None without one."""
    for key, value in metadata:
        if key == "grpc-status-details-bin":
            try:
                details = Status.FromString(value).details
            except DecodeError:
                return None
            for detail in details:
                info = RetryInfo()
                if detail.Is(RetryInfo.DESCRIPTOR) and detail.Unpack(info):
                    return max(0.0, float(info.retry_delay.ToNanoseconds()) / 1e9)
    return None
