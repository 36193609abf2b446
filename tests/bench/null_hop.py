"""The floor: `python -m tests.bench.null_hop PORT [BACKEND_PORT]`; without a backend it is the counting sink."""

import asyncio
import sys
from typing import Any

import grpc
import grpc.aio

from otel_eval.records import Kind

_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


async def main(port: int, backend_port: int | None) -> None:
    if backend_port is not None:
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{backend_port}", _UNLIMITED)
        forward: Any = channel.unary_unary(f"/{Kind.TRACES.service}/Export")
    received = 0

    async def export(body: bytes, _: Any) -> bytes:
        nonlocal received
        if backend_port is not None:
            return bytes(await forward(body))
        received += len(body)
        return b""

    async def swallow(_: bytes, __: Any) -> bytes:
        return b""

    async def count(_: bytes, __: Any) -> bytes:
        return str(received).encode()

    server = grpc.aio.server(options=_UNLIMITED)
    handlers = (
        (Kind.TRACES.service, "Export", export),
        (Kind.LOGS.service, "Export", swallow),
        ("bench", "Received", count),
    )
    for service, method, handle in handlers:
        handler: Any = grpc.unary_unary_rpc_method_handler(handle)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    ports = [int(argument) for argument in sys.argv[1:]]
    asyncio.run(main(ports[0], ports[1] if len(ports) > 1 else None))
