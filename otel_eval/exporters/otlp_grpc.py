"""OTLP/gRPC to a backend.

Calls run in threads on gRPC's blocking client: its asyncio client compresses in the event loop, which held every
sender up for 30 ms a MiB of gzip; in a thread it is done without the interpreter's lock (measured: the loop is never
late by more than 5 ms).
"""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from otel_eval.config.models import ClientTls, OtlpExporterConfig
from otel_eval.errors import ConfigError, OtelEvalError, PermanentError, RetryableError, TooLargeError
from otel_eval.exporters import Message
from otel_eval.exporters.otlp import (
    MAX_RESPONSE_BYTES,
    USER_AGENT,
    parse_endpoint,
    partial_success,
    ssl_context,
    without_secrets,
)
from otel_eval.records import Kind, OwnKind, PartialSuccess

_Code = grpc.StatusCode
_RETRYABLE = frozenset(
    {_Code.CANCELLED, _Code.DEADLINE_EXCEEDED, _Code.ABORTED, _Code.OUT_OF_RANGE, _Code.UNAVAILABLE, _Code.DATA_LOSS}
)
_LIVENESS = ("keepalive_time", "keepalive_timeout", "http2.ping_timeout")
_RESPONSE_TOO_LARGE = "CLIENT: Received message larger than max"
"""How gRPC itself says that a success came with a response over our limit."""


class OtlpGrpcExporter:
    """Sends over one gRPC channel."""

    class Config(OtlpExporterConfig, frozen=True, kw_only=True):
        """`endpoint` is host:port, or a URL whose scheme says whether to use TLS."""

        endpoint: str

    def __init__(self, name: str, config: Config) -> None:
        self._config = config
        self._key = f"exporters.{name}"
        self._endpoint = parse_endpoint(f"{self._key}.endpoint", config.endpoint, config.tls, 4317, scheme_needed=False)
        self._headers = {name.lower(): value.reveal() for name, value in config.headers.items()}
        if binary := next((header for header in self._headers if header.endswith("-bin")), None):
            raise ConfigError(f"{self._key}.headers.{binary}: gRPC takes names that end with -bin for binary values")
        self._compression = grpc.Compression.Gzip if config.compression == "gzip" else grpc.Compression.NoCompression
        if config.tls.insecure_skip_verify:
            raise ConfigError(f"{self._key}.tls.insecure_skip_verify: gRPC cannot skip it; give the authority as ca_file")
        self._threads: ThreadPoolExecutor | None = None
        self._channel: grpc.Channel | None = None

    @property
    def targets(self) -> Mapping[str, tuple[str, int]]:
        """See Exporter."""
        return {"endpoint": (self._endpoint.host, self._endpoint.port)}

    async def start(self) -> None:
        """Open the channel; it connects when it is first used."""
        config = self._config
        options: list[tuple[str, Any]] = [
            ("grpc.primary_user_agent", USER_AGENT),
            ("grpc.max_receive_message_length", MAX_RESPONSE_BYTES),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_reconnect_backoff_ms", 5000),  # two minutes by default: too long after an outage
            # A connection on which nothing comes for as long as a call may take is asked whether it lives. Without that,
            # one that a firewall has forgotten holds everything up until TCP gives up, a quarter of an hour.
            *((f"grpc.{name}_ms", round(config.timeout * 1000)) for name in _LIVENESS),
        ]
        if config.tls.server_name_override:
            options.append(("grpc.ssl_target_name_override", config.tls.server_name_override))
        host = f"[{self._endpoint.host}]" if ":" in self._endpoint.host else self._endpoint.host
        address = f"{host}:{self._endpoint.port}"
        if self._endpoint.secure:
            self._channel = grpc.secure_channel(address, self._credentials(config.tls), options)
        else:
            self._channel = grpc.insecure_channel(address, options)
        self._calls: dict[Kind | OwnKind, Any] = {kind: self._channel.unary_unary(f"/{kind.service}/Export") for kind in Kind}
        self._threads = ThreadPoolExecutor(config.sending_queue.num_consumers * len(config.types), thread_name_prefix=self._key)

    async def export(self, message: Message) -> PartialSuccess:
        """See Exporter."""
        if self._threads is None:
            raise RetryableError("the exporter is stopped")
        try:
            response = await asyncio.get_running_loop().run_in_executor(self._threads, self._call, message)
        except grpc.RpcError as error:
            if _RESPONSE_TOO_LARGE in (error.details() or ""):
                return PartialSuccess(message=f"the response was larger than {MAX_RESPONSE_BYTES >> 20} MiB")
            raise _error_of(error, self._headers) from None
        except ValueError as error:  # the channel was closed under the call
            raise RetryableError(str(error)) from None
        return partial_success(response)

    async def shutdown(self) -> None:
        """See Exporter."""
        if self._channel is not None:
            self._channel.close()  # ends calls that are under way as CANCELLED
            self._channel = None
        if self._threads is not None:
            self._threads.shutdown(wait=False)  # calls that wait for a thread end at the closed channel
            self._threads = None

    def _call(self, message: Message) -> bytes:
        response: bytes = self._calls[message.kind](
            message.body, timeout=self._config.timeout, metadata=tuple(self._headers.items()), compression=self._compression
        )
        return response

    def _credentials(self, tls: ClientTls) -> grpc.ChannelCredentials:
        ssl_context(self._key, tls)  # gRPC itself would only fail at the first handshake
        files = (tls.ca_file, tls.key_file, tls.cert_file)
        return grpc.ssl_channel_credentials(*(file.read_bytes() if file else None for file in files))


def _error_of(error: Any, headers: Mapping[str, str]) -> OtelEvalError:
    """The OTLP meaning of a gRPC status; see the package docstring for what differs from the specification."""
    code = error.code()
    message = f"{code.name}: {without_secrets(error.details() or '', headers.values())}"
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
            info = RetryInfo()
            try:
                if any(detail.Unpack(info) for detail in Status.FromString(value).details):
                    return max(0.0, float(info.retry_delay.ToNanoseconds()) / 1e9)
            except DecodeError:
                return None
    return None
