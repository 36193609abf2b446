"""Our own metrics: every name once, with its unit; kept as plain numbers and read only when somebody asks.

Names follow the Collector's, with the prefix `otel_eval_`. They are served as Prometheus text and go nowhere else, so
they never enter our own pipeline.
"""

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from otel_eval.records import Kind, OwnKind


class Metric(NamedTuple):
    """`type` is counter, gauge or histogram; `unit` as UCUM writes it."""

    type: str
    unit: str
    description: str


_ALL = (*Kind, OwnKind.LEDGER, OwnKind.EVALUATIONS)


def _for_each_kind(prefix: str, description: str, kinds: Iterable[Kind | OwnKind] = Kind) -> dict[str, Metric]:
    """One counter of items for each kind of request, the way the Collector names them."""
    return {
        f"{prefix}_{kind.items}": Metric("counter", f"{{{kind.items}}}", description.format(kind.items.replace("_", " ")))
        for kind in kinds
    }


METRICS: dict[str, Metric] = {
    **_for_each_kind("receiver_accepted", "{} journaled and acknowledged, by transport."),
    **_for_each_kind("receiver_refused", "{} not taken (journal full, or invalid ids), by transport."),
    "receiver_requests": Metric("counter", "{requests}", "Requests received, by transport and outcome."),
    **_for_each_kind("exporter_sent", "{} that the backend took, by exporter.", _ALL),
    **_for_each_kind("exporter_send_failed", "{} that the backend refused for good, now dead letters, by exporter.", _ALL),
    **_for_each_kind("exporter_rejected", "{} that the backend rejected in a partial success, by exporter.", _ALL),
    "exporter_requests": Metric("counter", "{requests}", "Tries to send, by exporter and outcome."),
    "exporter_send_duration": Metric("histogram", "s", "Time of one try to send, by exporter."),
    "exporter_in_flight_requests": Metric("gauge", "{requests}", "Messages not yet answered for good, by exporter and kind."),
    "exporter_queue_size": Metric("gauge", "By", "Journal bytes that the exporter has not delivered yet, by exporter and kind."),
    "exporter_queue_capacity": Metric("gauge", "By", "The journal's disk budget."),
    "journal_size": Metric("gauge", "By", "Bytes on disk, journal and dead letters."),
    "journal_damaged_records": Metric("counter", "{records}", "Damaged records that were skipped, by kind."),
    "dead_letters_deleted": Metric("counter", "{requests}", "The oldest dead letters, deleted because the store was full."),
    "dead_letters": Metric("gauge", "{requests}", "Requests in the dead-letter store."),
    "sampling_traces_open": Metric("gauge", "{traces}", "Traces that are being put together."),
    "sampling_traces_due": Metric("gauge", "{traces}", "Finished traces that wait for their decision."),
    "sampling_traces_decided": Metric("counter", "{decisions}", "Decisions, by what made the trace due."),
    "sampling_traces_chosen": Metric("counter", "{traces}", "Traces chosen for judging, by the policy with the largest rate."),
    "sampling_traces_unread": Metric("counter", "{traces}", "Decided by the baseline alone: there was no time to look at them."),
    "sampling_feedback": Metric("counter", "{items}", "Feedback and outcomes that named a trace: matched, or waiting for it."),
    "sampling_feedback_waiting": Metric("gauge", "{items}", "Feedback whose trace has not come."),
    "sampling_checkpoint_duration": Metric("histogram", "s", "Time for which the sampler stood still for a checkpoint."),
    "judging_queue": Metric("gauge", "{jobs}", "Jobs of the judges' queue, by state: waiting, claimed, dead."),
    "judging_queue_size": Metric("gauge", "By", "What the judges' queue takes on disk."),
    "judging_traces": Metric("counter", "{traces}", "Chosen traces that came to their end, by state."),
    "judging_results": Metric("counter", "{results}", "What evaluators came to, by evaluator and state."),
    "judging_returned": Metric("counter", "{jobs}", "Jobs that went back to the queue for another try, by reason."),
    "judging_batched": Metric("gauge", "{questions}", "Questions for judges that wait for a batch, by state: waiting, sent."),
    "judging_cost_microdollars": Metric("counter", "{microdollars}", "What judges took, in 1e-6 USD, by evaluator and model."),
    "judging_pressure": Metric("gauge", "{level}", "How much of the judges' budget or queue is used: 0, 70, 80, 90 or 100."),
    "judging_rejudged": Metric("counter", "{verdicts}", "Verdicts that were asked for twice, by evaluator."),
    "judging_agreement": Metric("gauge", "1", "Share of the last of these whose two verdicts are the same, by evaluator."),
    "judging_difference": Metric("gauge", "1", "Mean absolute difference of their values, by evaluator."),
    "judging_canaries": Metric("counter", "{traces}", "Synthetic traces with a known verdict that went to the judges."),
    "judging_canary_accuracy": Metric("gauge", "1", "Share of the last verdicts on canaries that are right."),
    "judging_canary_injections": Metric("gauge", "1", "Share of the last injections in canaries that got what they asked for."),
    "judging_spans_held": Metric("gauge", "{spans}", "Root spans that are held back until they are scored."),
    "judging_spans_released": Metric("counter", "{spans}", "Root spans that went on; or that found no room, reason `full`."),
    "judging_spans_repeated": Metric("counter", "{spans}", "Root spans that came again after they were held, and were left out."),
    "process_uptime": Metric("gauge", "s", "Time since the start."),
}  # fmt: skip

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_Labels = tuple[tuple[str, str], ...]


class Counter:
    """A number that only grows; cheap enough for every request."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def add(self, amount: int = 1) -> None:
        """Count."""
        self.value += amount


class Metrics:
    """The metrics of one running service."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(namespace="otel_eval", registry=self._registry)
        reader = PrometheusMetricReader(disable_target_info=True, scope_info_enabled=False, registry=self._registry)
        view = View(instrument_name="*_duration", aggregation=ExplicitBucketHistogramAggregation(_BUCKETS))
        self._provider = MeterProvider([reader], resource=Resource({"service.name": "otel-eval"}), views=[view])
        self._meter = self._provider.get_meter("otel_eval")
        self._counters: dict[str, dict[_Labels, Counter]] = {}
        self._gauges: dict[str, dict[_Labels, Callable[[], float]]] = {}
        self._histograms = {
            name: self._meter.create_histogram(f"otel_eval_{name}", metric.unit, metric.description)
            for name, metric in METRICS.items()
            if metric.type == "histogram"
        }
        for name, metric in METRICS.items():
            self._observe(name, metric)
        started = time.monotonic()
        self.gauge("process_uptime", lambda: time.monotonic() - started)

    def counter(self, name: str, **labels: str) -> Counter:
        """The counter of that name and labels."""
        return self._counters[name].setdefault(_key(labels), Counter())

    def gauge(self, name: str, read: Callable[[], float], **labels: str) -> None:
        """Let `read` give the value whenever it is asked for."""
        self._gauges[name][_key(labels)] = read

    def record(self, name: str, value: float, **labels: str) -> None:
        """Put one value into a histogram."""
        self._histograms[name].record(value, labels)

    def forget_gauges(self, **labels: str) -> None:
        """Stop showing the gauges that have these labels: what they read is gone."""
        gone = set(labels.items())
        for readers in self._gauges.values():
            for key in [key for key in readers if gone <= set(key)]:
                del readers[key]

    def prometheus(self) -> bytes:
        """All metrics in the Prometheus text format."""
        return generate_latest(self._registry)

    def close(self) -> None:
        """Stop measuring."""
        self._provider.shutdown()

    def _observe(self, name: str, metric: Metric) -> None:
        if metric.type == "counter":
            counters = self._counters[name] = {}

            def read_counters(_: CallbackOptions) -> Iterable[Observation]:
                return [Observation(counter.value, dict(key)) for key, counter in list(counters.items())]

            self._meter.create_observable_counter(f"otel_eval_{name}", [read_counters], metric.unit, metric.description)
        elif metric.type == "gauge":
            gauges = self._gauges[name] = {}

            def read_gauges(_: CallbackOptions) -> Iterable[Observation]:
                return [Observation(read(), dict(key)) for key, read in list(gauges.items())]

            self._meter.create_observable_gauge(f"otel_eval_{name}", [read_gauges], metric.unit, metric.description)


def _key(labels: dict[str, str]) -> _Labels:
    return tuple(sorted(labels.items()))
