"""What can be configured, with defaults. The text under a field is its documentation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, field

from otel_eval.config.sampling import Sampling, Traces
from otel_eval.config.section import Section
from otel_eval.config.values import Duration, ListenAddress, PositiveDuration, Secret
from otel_eval.records import Kind, OwnKind, Sync

Positive = Annotated[int, Meta(ge=1)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
HeaderName = Annotated[str, Meta(pattern="^[A-Za-z0-9_.-]+$")]


class ServerTls(Section, frozen=True):
    """TLS of a receiver. With `client_ca_file` senders must show a certificate of that authority (mTLS)."""

    cert_file: Path
    key_file: Path
    client_ca_file: Path | None = None


class BearerAuth(Section, frozen=True):
    """Bearer tokens that senders must show. A file may hold several, one a line, and is read again when it changes."""

    token: Secret | None = None
    filename: Path | None = None

    def __post_init__(self) -> None:
        if (self.token is None) == (self.filename is None):
            raise ValueError("expected either token or filename")
        if self.token is not None and not self.token.reveal().strip():
            raise ValueError("the token is empty")


class GrpcServer(Section, frozen=True):
    """OTLP/gRPC."""

    endpoint: ListenAddress = ListenAddress.parse("127.0.0.1:4317")
    max_recv_msg_size_mib: Annotated[int, Meta(ge=1, le=1024)] = 64
    tls: ServerTls | None = None
    auth: BearerAuth | None = None


class HttpServer(Section, frozen=True):
    """OTLP/HTTP, protobuf and JSON."""

    endpoint: ListenAddress = ListenAddress.parse("127.0.0.1:4318")
    max_request_body_size_mib: Annotated[int, Meta(ge=1, le=1024)] = 64
    tls: ServerTls | None = None
    auth: BearerAuth | None = None


class Protocols(Section, frozen=True):
    """The protocols to listen on; a protocol that is not named is off."""

    grpc: GrpcServer | None = None
    http: HttpServer | None = None

    def __post_init__(self) -> None:
        if self.grpc is None and self.http is None:
            raise ValueError("expected grpc, http or both")


class OtlpReceiver(Section, frozen=True):
    """The OTLP receiver."""

    protocols: Protocols = field(default_factory=lambda: Protocols(grpc=GrpcServer(), http=HttpServer()))


class Receivers(Section, frozen=True):
    """Where requests come in."""

    otlp: OtlpReceiver = field(default_factory=OtlpReceiver)


class JournalConfig(Section, frozen=True):
    """The disk buffer. `max_size_mib` bounds it together with the dead letters; over it senders are asked to wait."""

    directory: Path = Path("otel-eval-data/journal")
    max_size_mib: Positive = 10240
    sync: Sync = Sync.INTERVAL


class ClientTls(Section, frozen=True):
    """TLS towards a backend; without `ca_file` the system's authorities count."""

    insecure: bool = False
    insecure_skip_verify: bool = False
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name_override: str | None = None

    def __post_init__(self) -> None:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("expected cert_file and key_file together")


class RetryOnFailure(Section, frozen=True):
    """Waits between tries, growing by `multiplier` and spread by `randomization_factor`.

    `max_elapsed_time` 0 means for ever (the journal is the buffer); after it a request goes to the dead letters.
    """

    initial_interval: PositiveDuration = PositiveDuration(1)
    multiplier: Annotated[float, Meta(ge=1, le=100)] = 1.5
    randomization_factor: Fraction = 0.5
    max_interval: PositiveDuration = PositiveDuration(30)
    max_elapsed_time: Duration = Duration(0)


class Batch(Section, frozen=True):
    """Requests are joined until `min_size_bytes` wait or the oldest has waited `flush_timeout`.

    No more than `max_items` spans, log records or metric points are joined; one request is never cut for that.
    """

    flush_timeout: Duration = Duration(0.2)
    min_size_bytes: Positive = 1 << 20
    max_items: Positive = 100_000


class SendingQueue(Section, frozen=True):
    """Sending from the journal: up to `num_consumers` requests of each kind are under way at once."""

    num_consumers: Annotated[int, Meta(ge=1, le=64)] = 4
    batch: Batch = field(default_factory=Batch)


class ExporterConfig(Section, frozen=True):
    """What every exporter has; `types` are the kinds of request that it gets."""

    types: Annotated[tuple[Kind, ...], Meta(min_length=1)] = tuple(Kind)
    max_message_bytes: Annotated[int, Meta(ge=1024, le=1 << 30)] = 4 << 20
    timeout: PositiveDuration = PositiveDuration(10)
    retry_on_failure: RetryOnFailure = field(default_factory=RetryOnFailure)
    sending_queue: SendingQueue = field(default_factory=SendingQueue)

    @property
    def kinds(self) -> Sequence[Kind | OwnKind]:
        """The logs of the journal that it reads."""
        return self.types

    @property
    def reads_files(self) -> bool:
        """Whether it depends on files, which may have changed when the configuration has not."""
        return False


class OtlpExporterConfig(ExporterConfig, frozen=True):
    """What both OTLP exporters have; `compression` is gzip or none, since every receiver takes those."""

    headers: dict[HeaderName, Secret] = field(default_factory=dict)
    compression: Literal["gzip", "none"] = "gzip"
    tls: ClientTls = field(default_factory=ClientTls)

    @property
    def reads_files(self) -> bool:
        """See ExporterConfig: certificates are renewed."""
        return bool(self.tls.ca_file or self.tls.cert_file)


class Emit(Section, frozen=True):
    """How scores go on: after their trace, or `hold`: the root of a chosen trace waits for them, up to `hold_timeout`."""

    mode: Literal["separate", "hold"] = "separate"
    hold_timeout: PositiveDuration = PositiveDuration(30)


class Api(Section, frozen=True):
    """The HTTP API for feedback and outcomes; an `endpoint` of null turns it off."""

    endpoint: ListenAddress | None = ListenAddress.parse("127.0.0.1:4320")
    tls: ServerTls | None = None
    auth: BearerAuth | None = None


class Logs(Section, frozen=True):
    """Our own log lines, on stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Telemetry(Section, frozen=True):
    """Where we can be observed; null turns a page off."""

    metrics: ListenAddress | None = ListenAddress.parse("127.0.0.1:8888")
    health: ListenAddress | None = ListenAddress.parse("127.0.0.1:13133")
    logs: Logs = field(default_factory=Logs)


class Service(Section, frozen=True):
    """The process as a whole: how long a stop may take to send what is still in the journal."""

    drain_timeout: Duration = Duration(10)


class Config(Section, frozen=True):
    """The whole file. `exporters` maps `type` or `type/name` to the settings of that exporter type.

    `scrub` and `judging` belong to the parts of that name, which define them (entry points `otel_eval.sections`).
    """

    receivers: Receivers = field(default_factory=Receivers)
    journal: JournalConfig = field(default_factory=JournalConfig)
    traces: Traces = field(default_factory=Traces)
    sampling: Sampling = field(default_factory=Sampling)
    scrub: Any = field(default_factory=dict)
    judging: Any = field(default_factory=dict)
    emit: Emit = field(default_factory=Emit)
    exporters: dict[str, Any] = field(default_factory=dict)
    api: Api = field(default_factory=Api)
    telemetry: Telemetry = field(default_factory=Telemetry)
    service: Service = field(default_factory=Service)
