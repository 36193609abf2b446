"""The messages that receivers answer with, the same for gRPC and HTTP."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_eval.errors import PermanentError, RetryableError, TooLargeError
from otel_eval.records import Kind, PartialSuccess

_log = structlog.get_logger(__name__)

Accept = Callable[[Kind, bytes, str], Awaitable[PartialSuccess]]
"""`Intake.accept`: kind, body, transport."""

# google.rpc.Code
OK, INVALID_ARGUMENT, RESOURCE_EXHAUSTED, UNIMPLEMENTED, UNAVAILABLE, UNAUTHENTICATED = 0, 3, 8, 12, 14, 16

OUTCOMES = {
    OK: "success",
    INVALID_ARGUMENT: "invalid",
    RESOURCE_EXHAUSTED: "too_large",
    UNAUTHENTICATED: "unauthenticated",
    UNAVAILABLE: "retry",
}
"""The values of the label `outcome` of receiver_requests, by code."""

_RESPONSES: Mapping[Kind, Any] = {
    Kind.TRACES: ExportTraceServiceResponse,
    Kind.LOGS: ExportLogsServiceResponse,
    Kind.METRICS: ExportMetricsServiceResponse,
}
_REJECTED = {Kind.TRACES: "rejected_spans", Kind.LOGS: "rejected_log_records", Kind.METRICS: "rejected_data_points"}


def response(kind: Kind, outcome: PartialSuccess) -> Any:
    """The Export response; its partial success is unset when everything was taken."""
    message = _RESPONSES[kind]()
    if outcome.rejected or outcome.message:
        setattr(message.partial_success, _REJECTED[kind], outcome.rejected)
        message.partial_success.error_message = outcome.message
    return message


def status_of(error: Exception) -> Status:
    """The status for whatever `accept` raised, with the detail that OTLP asks for."""
    match error:
        case TooLargeError():
            return Status(code=RESOURCE_EXHAUSTED, message=str(error))
        case PermanentError():
            status = Status(code=INVALID_ARGUMENT, message=str(error))
            status.details.add().Pack(BadRequest(field_violations=[BadRequest.FieldViolation(description=str(error))]))
            return status
        case RetryableError():
            status = Status(code=UNAVAILABLE, message=str(error))
            if error.retry_after_s is not None:
                delay = Duration(nanos=0)
                delay.FromNanoseconds(int(error.retry_after_s * 1e9))
                status.details.add().Pack(RetryInfo(retry_delay=delay))
            return status
        case _:
            _log.error("a request failed unexpectedly; its sender is asked to try again", exc_info=error)
            return Status(code=UNAVAILABLE, message="internal failure, try again")
