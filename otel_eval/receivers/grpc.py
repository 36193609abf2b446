"""OTLP/gRPC."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from google.rpc.status_pb2 import Status

from otel_eval.config.models import GrpcServer
from otel_eval.errors import ConfigError
from otel_eval.receivers import answer
from otel_eval.receivers.answer import Accept
from otel_eval.receivers.security import BearerTokens, grpc_credentials, warn_if_open
from otel_eval.records import Kind, PartialSuccess
from otel_eval.telemetry import Metrics

_KEY = "receivers.otlp.protocols.grpc"
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_Handler = Callable[[bytes, grpc.aio.ServicerContext[bytes, bytes]], Awaitable[bytes]]


class GrpcReceiver:
    """A gRPC server that hands request bodies on undecoded."""

    def __init__(self, config: GrpcServer, accept: Accept, metrics: Metrics) -> None:
        self._config = config
        self._accept = accept
        self._requests = {
            code: metrics.counter("receiver_requests", transport="grpc", outcome=outcome)
            for code, outcome in answer.OUTCOMES.items()
        }
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Listen; raises ConfigError when that is not possible."""
        config = self._config
        warn_if_open(config.endpoint, config.tls, config.auth, _KEY)
        interceptors = [_Authentication(BearerTokens(config.auth, _KEY), self._requests)] if config.auth else []
        server = grpc.aio.server(
            interceptors=interceptors,
            options=[
                ("grpc.max_receive_message_length", config.max_recv_msg_size_mib << 20),
                ("grpc.so_reuseport", 0),  # otherwise a second hop on the port would silently take half of the calls
            ],
        )
        for kind in Kind:
            handler: Any = grpc.unary_unary_rpc_method_handler(self._export(kind))  # no deserializer: bytes in, bytes out
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(kind.service, {"Export": handler}),))
        credentials = grpc_credentials(config.tls, _KEY) if config.tls else None
        try:
            if credentials:
                self.port = server.add_secure_port(config.endpoint, credentials)
            else:
                self.port = server.add_insecure_port(config.endpoint)
        except RuntimeError:
            raise ConfigError(f"{_KEY}.endpoint: cannot listen on {config.endpoint}; is the port in use?") from None
        await server.start()
        self._server = server

    async def shutdown(self, grace_s: float = 5.0) -> None:
        """Refuse new calls and let running ones finish within `grace_s` seconds."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(grace_s)

    def _export(self, kind: Kind) -> _Handler:
        complete = PartialSuccess()
        complete_response = bytes(answer.response(kind, complete).SerializeToString())

        async def export(body: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            try:
                outcome = await self._accept(kind, body, "grpc")
            except Exception as error:
                await self._refuse(context, answer.status_of(error))
                raise
            self._requests[answer.OK].add()
            if outcome == complete:
                return complete_response
            return bytes(answer.response(kind, outcome).SerializeToString())

        return export

    async def _refuse(self, context: grpc.aio.ServicerContext[bytes, bytes], status: Status) -> None:
        self._requests[status.code].add()
        details = (("grpc-status-details-bin", status.SerializeToString()),)
        await context.abort(_CODES[status.code], status.message, details)


class _Authentication(grpc.aio.ServerInterceptor):
    """Answers UNAUTHENTICATED to calls that show no valid bearer token."""

    def __init__(self, tokens: BearerTokens, requests: dict[int, Any]) -> None:
        self._tokens = tokens
        self._refused = requests[answer.UNAUTHENTICATED]

        async def refuse(_: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            self._refused.add()
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "a valid bearer token is needed")
            return b""

        self._handler: Any = grpc.unary_unary_rpc_method_handler(refuse)

    async def intercept_service(self, continuation: Any, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Look at the metadata before the message is read."""
        shown = dict(handler_call_details.invocation_metadata or ()).get("authorization", "")
        if self._tokens.allows(shown.encode() if isinstance(shown, str) else shown):
            return await continuation(handler_call_details)
        return self._handler
