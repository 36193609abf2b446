"""What can be configured of judging. The text under a field is its documentation."""

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from msgspec import Meta, field

from otel_eval.config.section import Section
from otel_eval.config.values import PositiveDuration, Secret
from otel_eval.judging.budget import BudgetConfig
from otel_eval.judging.cache import CacheConfig
from otel_eval.judging.freshness import NOW, Freshness
from otel_eval.judging.gate import GateConfig

Count = Annotated[int, Meta(ge=1)]


class Provider(Section, frozen=True):
    """Where judge models are asked: the Messages API, or one that is compatible with OpenAI's chat API.

    Without `api_key` the evaluators that ask a model are blocked, and say so; a local server that needs none takes any.
    """

    api: Literal["anthropic", "openai"] = "anthropic"
    api_key: Secret | None = None
    base_url: str | None = None
    timeout: PositiveDuration = PositiveDuration(60)

    def __post_init__(self) -> None:
        if self.base_url is not None and not _is_url(self.base_url):  # not shown: what is misspelt may hold a password
            raise ValueError(
                "base_url: expected http://host:port/path or https://host:port/path, without a password (see api_key)"
            )


def _is_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0 and "@" not in url.netloc
    except ValueError:
        return False


class QueueConfig(Section, frozen=True):
    """Chosen traces that wait for their judges, on disk.

    The fuller it is, the lower are the rates of sampling. While it is full, what is chosen waits in the journal; what finds
    no room within `traces.late_window` ends as `dropped_backpressure`. Spans never wait for it.

    A trace that was being judged each of `max_crashes` times that the process died is taken for the cause, and is a dead
    letter; what was judged beside it is hit too, when the process dies that often at the same work.
    """

    max_size_mib: Count = 1024
    synchronous: Literal["FULL", "NORMAL"] = "FULL"
    max_crashes: Annotated[int, Meta(ge=1, le=1000)] = 10


class Judging(Section, frozen=True):
    """What chosen traces are judged by. An evaluator is a name, or a name with its settings; null means the default ones.

    A trace that is not judged within `deadline` has expired. After `max_attempts` failed tries it is a dead letter.
    `rejudge_rate` of the verdicts of judge models are asked for twice, to measure how repeatable they are: see `agreement`.
    `freshness` is how soon verdicts of judge models are wanted, where the evaluator does not say it: see `batches`.
    """

    enabled: bool = True
    evaluators: tuple[str | dict[str, Any], ...] | None = None
    freshness: Freshness = NOW
    rejudge_rate: Annotated[float, Meta(ge=0, le=1)] = 0.01
    provider: Provider = field(default_factory=Provider)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    limits: GateConfig = field(default_factory=GateConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    queue: QueueConfig = field(default_factory=QueueConfig)
    workers: Annotated[int, Meta(ge=1, le=256)] = 16
    deadline: PositiveDuration = PositiveDuration(6 * 3600)
    max_attempts: Annotated[int, Meta(ge=1, le=100)] = 5
