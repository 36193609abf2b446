"""`scrub.forwarded`: what goes to a backend, and onto the disk, is scrubbed; everything else in it arrives as it was sent."""

import asyncio
import re
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_eval.journal import stored_bodies
from otel_eval.records import Kind
from otel_eval.scrub import PLACEHOLDER, ScrubConfig, forwarding
from otel_eval.wire import lens
from tests import spans, traffic
from tests.conftest import StartHop
from tests.hop import otlp_to
from tests.scrub.test_scrub_request import CARD, JANE, logs, traces
from tests.sink import Sink
from tests.test_forwarding import send_grpc

EMAIL = re.compile(rb"<EMAIL_[1-9][0-9]{0,8}>")
SCRUBBED = {"scrub": {"forwarded": True}}


async def passed_on(sink: Sink, start_hop: StartHop, kind: Kind, *bodies: bytes) -> list[bytes]:
    service = await start_hop({"otlp": otlp_to(sink.grpc_port)}, **SCRUBBED)
    for body in bodies:
        await send_grpc(service, kind, body)
    await sink.wait_for_items(sum(len(list(lens.items(body))) for body in bodies), kind)
    return sink.received[kind]


@pytest.mark.parametrize(("kind", "request_"), [(Kind.TRACES, traces()), (Kind.LOGS, logs())], ids=["traces", "logs"])
async def test_at_the_backend_an_address_is_a_placeholder_and_all_else_is_equal(
    sink: Sink, start_hop: StartHop, tmp_path: Path, kind: Kind, request_: Any
) -> None:
    sent = request_.SerializeToString()
    (received,) = await passed_on(sink, start_hop, kind, sent)
    (placeholder,) = set(EMAIL.findall(received))
    assert JANE.encode() not in received
    assert JANE.encode() not in b"".join(bytes(body) for body in stored_bodies(tmp_path / "journal", kind))
    # The placeholders put back by what they stand for give the request that was sent, field by field.
    back = with_texts(type(request_).FromString(received), {placeholder.decode(): JANE})
    others = {match[0] for match in PLACEHOLDER.finditer(str(back))}
    originals = {"CARD": CARD, "IP": "203.0.113.7"}
    back = with_texts(back, {text: originals[text.strip("<>").split("_")[0]] for text in others})
    assert back == request_


def with_texts(message: Any, texts: dict[str, str]) -> Any:
    """The message with these texts replaced wherever they stand."""
    for field, value in message.ListFields():
        repeated = field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
        for index, one in enumerate(value if repeated else [value]):
            if field.type == field.TYPE_MESSAGE:
                with_texts(one, texts)
            elif field.type in (field.TYPE_STRING, field.TYPE_BYTES):
                new = one
                for old, text in texts.items():
                    new = new.replace(old, text) if isinstance(new, str) else new.replace(old.encode(), text.encode())
                if repeated:
                    value[index] = new
                else:
                    setattr(message, field.name, new)
    return message


async def test_the_same_value_has_one_placeholder_in_all_requests(sink: Sink, start_hop: StartHop) -> None:
    """A trace comes in several: counting in each would give two persons one number."""
    bodies = [
        spans.trace_request([spans.span({"who": who}, trace=trace)])
        for trace, who in enumerate(["bob@x.com then ann@x.com", "ann@x.com", "bob@x.com", "Bob@x.com"])
    ]
    await passed_on(sink, start_hop, Kind.TRACES, *bodies)
    (bob, ann), *others = (EMAIL.findall(item) for item in sink.spans())
    assert bob != ann
    assert others == [[ann], [bob], [bob]]


async def test_what_has_nothing_to_hide_arrives_byte_for_byte(sink: Sink, start_hop: StartHop) -> None:
    clean = [traffic.traces(3).SerializeToString(), not_utf8()]
    assert b"".join(await passed_on(sink, start_hop, Kind.TRACES, *clean)) == b"".join(clean), "requests are joined as they are"


def not_utf8(text: bytes = b"\xff\xfe broken \xed\xa0\x80") -> bytes:
    """A span whose name is no text, with a field that OTLP does not have."""
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add(trace_id=b"t" * 16, span_id=b"s" * 8, name="x" * len(text))
    span.start_time_unix_nano = 1
    return request.SerializeToString().replace(b"x" * len(text), text)


async def test_what_is_malformed_within_is_passed_on_with_the_address_replaced(sink: Sink, start_hop: StartHop) -> None:
    text = b"\xff\xfe broken \xed\xa0\x80 mail " + JANE.encode() + b" \x00"
    (received,) = await passed_on(sink, start_hop, Kind.TRACES, not_utf8(text))
    assert b"\xff\xfe broken \xed\xa0\x80 mail <EMAIL_" in received
    assert JANE.encode() not in received


async def test_metrics_and_refusals_are_as_before(sink: Sink, start_hop: StartHop) -> None:
    service = await start_hop({"otlp": otlp_to(sink.grpc_port)}, **SCRUBBED)
    metrics = traffic.metrics(4).SerializeToString()
    await send_grpc(service, Kind.METRICS, metrics)
    await sink.wait_for_items(1, Kind.METRICS)
    assert sink.received[Kind.METRICS] == [metrics]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await send_grpc(service, Kind.TRACES, b"\xff\xff\xff")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_requests_at_once_keep_all_their_spans(sink: Sink, start_hop: StartHop) -> None:
    service = await start_hop({"otlp": otlp_to(sink.grpc_port)}, **SCRUBBED)
    bodies = [spans.trace_request([spans.span({"who": f"u{n}@x.com"}, trace=n)]) for n in range(40)]
    await asyncio.gather(*(send_grpc(service, Kind.TRACES, body) for body in bodies))
    received = await sink.wait_for_items(40)
    assert len(received) == len({EMAIL.findall(item)[0] for item in received}) == 40


def test_who_does_not_know_the_key_cannot_try_values_out() -> None:
    body = logs().SerializeToString()
    first, second = forwarding(ScrubConfig(forwarded=True)), forwarding(ScrubConfig(forwarded=True))
    assert first is not None
    assert second is not None
    assert first(Kind.LOGS, body) == first(Kind.LOGS, body) != second(Kind.LOGS, body)
    assert first(Kind.LOGS, first(Kind.LOGS, body)) == first(Kind.LOGS, body)
    assert ExportLogsServiceRequest.FromString(first(Kind.LOGS, body))
    assert forwarding(ScrubConfig()) is None
