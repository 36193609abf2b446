"""Senders of single requests to a hop in its own process."""

from typing import Any

import aiohttp
import grpc
import grpc.aio

from otel_eval.records import Kind
from tests import traffic

REQUESTS: dict[Kind, Any] = {Kind.TRACES: traffic.traces, Kind.LOGS: traffic.logs, Kind.METRICS: traffic.metrics}


async def export(address: str, kind: Kind, body: bytes) -> grpc.StatusCode:
    """Send over gRPC and return the code."""
    async with grpc.aio.insecure_channel(address) as channel:
        call: Any = channel.unary_unary(f"/{kind.service}/Export")
        try:
            await call(body)
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK


async def post(base: str, kind: Kind, body: bytes, **headers: str) -> int:
    """Send over HTTP and return the status."""
    headers = {"Content-Type": "application/x-protobuf", **headers}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{base}/v1/{kind}", data=body, headers=headers) as response,
    ):
        return response.status


def named(kind: Kind, items: int, service: str = "agent") -> bytes:
    """A request of a service with that name."""
    request = REQUESTS[kind](items)
    (field,) = request.DESCRIPTOR.fields
    getattr(request, field.name)[0].resource.attributes.append(traffic.attribute("service.name", service))
    return bytes(request.SerializeToString())
