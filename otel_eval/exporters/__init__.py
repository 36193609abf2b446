"""Exporters: what is in the journal goes on to backends.

An exporter says how one request is sent; `sending` does everything else, the same for all: reading from the journal,
joining and splitting, several requests under way, retries, dead letters, and the durable cursor. An exporter is one
file and one entry point in the group `otel_eval.exporters`, and the shared contract test finds it.

Guarantees: at least once. A request counts as delivered when the backend has answered success, a partial success, or
a permanent refusal after which it is in the dead-letter store. Everything else is tried again, for ever by default:
the journal is the buffer. A restart may send again what was under way, and then as the same messages with the same ids:
where a batch ends is written down (`Reader.freeze`) before it is sent, so a backend that knows ids takes each once. Only
a power failure may forget where batches ended.

What an answer means
- retryable (the OTLP lists): wait, with jitter and the backend's own hint, and send the same bytes again;
- 401 and UNAUTHENTICATED: the same, although OTLP lists them as final. They say nothing about the data, only that our
  credentials are wrong, and dropping all traffic until somebody mends them would be loss;
- too large: the parts of the request one by one, down to single items, but not where most of it is its resource: each
  part would repeat that;
- success with a response that cannot be read: a success;
- any other refusal: a batch is halved until the guilty request stands alone; that one goes to the dead-letter store.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

from otel_eval.config import ExporterConfig
from otel_eval.records import Kind, OwnKind, PartialSuccess
from otel_eval.wire import edit


class Message(NamedTuple):
    """What goes to a backend at once: records of one kind, as they were journaled.

    `id` is the same for the same records, however often they are sent and after a restart too, and unlike that of any
    others. `hop` is the id of the journal that they come from, which `id` begins with. `again` is True when it may have
    been sent before without a known answer: by a process that was killed, or to a backend that was.
    """

    kind: Kind | OwnKind
    bodies: Sequence[bytes | memoryview]
    id: str
    hop: str = ""
    again: bool = False

    @property
    def body(self) -> bytes:
        """All of it as one OTLP request."""
        return edit.join(self.bodies)


class Exporter(Protocol):
    """How requests are sent to one backend."""

    Config: ClassVar[type[ExporterConfig]]

    def __init__(self, name: str, config: Any) -> None: ...

    @property
    def targets(self) -> Mapping[str, tuple[str, int]]:
        """Host and port of each place that it sends to over the network, by the setting that names it."""

    async def start(self) -> None:
        """Make ready; raises ConfigError for settings that cannot work, and does not wait for the backend."""

    async def export(self, message: Message) -> PartialSuccess:
        """Send one message and return what the backend took.

        Raises RetryableError or PermanentError (TooLargeError when a smaller one could go). May be called
        concurrently, and must return within the configured timeout.
        """

    async def shutdown(self) -> None:
        """Give up what is under way and release everything; may be called twice, and before `start`."""
