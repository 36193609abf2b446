"""What happened to a trace, and why, from the ledger of a hop, and what its judges came to."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from otel_eval.errors import ConfigError
from otel_eval.inspection import judged
from otel_eval.inspection.plain_text import one_line
from otel_eval.journal import stored_bodies
from otel_eval.records import Kind, OwnKind
from otel_eval.sampling.deciding import under_pressure
from otel_eval.sampling.ledger import Decided, decode
from otel_eval.sampling.randomness import SPACE, Source
from otel_eval.traces.entry import Trigger

_TRIGGERS = {
    Trigger.ROOT: "its root had come and nothing more for a while",
    Trigger.END_SIGNAL: "the application said that it was over",
    Trigger.IDLE: "nothing more came for a long time, and no root",
    Trigger.MAX_AGE: "it had been open for as long as a trace may be",
    Trigger.EVICTED: "its place was needed: too many traces were open, or the journal was full",
    Trigger.LATE: "late spans or log records came",
    Trigger.FEEDBACK: "feedback came",
}
_SOURCES = {
    Source.TRACESTATE: "the tracestate",
    Source.TRACE_ID: "the trace id",
    Source.HASH: "a hash of the trace id, since the ids that arrive do not look random",
}


def decisions(trace_id: str, journal_directory: Path) -> list[Decided]:
    """The decisions about a trace that the ledger still has, in their order."""
    wanted = bytes.fromhex(trace_id)
    found: dict[int, Decided] = {}
    for body in stored_bodies(journal_directory, OwnKind.LEDGER):
        if wanted in bytes(body):
            for entry in decode(body):
                if isinstance(entry, Decided) and entry.trace_id == wanted:
                    found[entry.revision] = entry
    return [found[revision] for revision in sorted(found)]


def explain(trace_id: str, journal_directory: Path) -> Iterator[str]:
    """Lines for a person. Raises ConfigError when nothing is known of the trace."""
    found = decisions(trace_id, journal_directory)
    if not found:
        yield _undecided(trace_id, journal_directory)
        return
    yield f"trace {trace_id.lower()}{'  ' + one_line(found[-1].service) if found[-1].service else ''}"
    chosen = False
    for decided in found:
        yield from _decision(decided, chosen)
        chosen = decided.chosen
    yield from judged.told(trace_id, journal_directory, chosen=chosen)


def _undecided(trace_id: str, journal_directory: Path) -> str:
    wanted = bytes.fromhex(trace_id)
    if any(
        wanted in bytes(body)
        for kind in (Kind.TRACES, Kind.LOGS, OwnKind.HELD)
        for body in stored_bodies(journal_directory, kind)
    ):
        return (
            f"trace {trace_id.lower()}\n  not decided: it is open, or waits for the end of the cap's window; or it is none, "
            "since it holds nothing but feedback, scores or log records that tell of no agent"
        )
    raise ConfigError(
        f"nothing is known of trace {trace_id} in {journal_directory}: it has not come here, or was decided longer ago than "
        "the ledger reaches"
    )


def _decision(decided: Decided, chosen_before: bool) -> Iterator[str]:
    when = datetime.fromtimestamp(decided.time_ns / 1e9, UTC).isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")
    yield f"  {'decided' if not decided.revision else 'decided again'} {when} UTC: {_TRIGGERS[decided.trigger]}"
    yield f"    {_completeness(decided)}"
    if not decided.eligible:
        yield "    not sampled: there is no work of an agent in it (model call, tool, retrieval, agent step)"
        return
    yield f"    {_outcome(decided, chosen_before)}"
    rates = ", ".join(f"{one_line(name)} {rate:g}" for name, rate in sorted(decided.rates.items(), key=lambda item: -item[1]))
    yield f"    rates: {rates or 'none'}{f'; stratum {one_line(decided.stratum)}' if decided.stratum else ''}"
    if under_pressure(1.0, decided.policy, decided.pressure) < 1:
        yield f"    they were lowered, since {decided.pressure} % of the judges' budget or queue was used"
    for name, detail in decided.signals.items():
        yield f"    signal {name}{'  ' + one_line(detail) if detail else ''}"
    if decided.upstream_pi is not None:
        before = f"sampled before it came here, with probability {decided.upstream_pi:.6g}"
        yield f"    {before}; with ours it is {decided.pi:.6g}"


def _completeness(decided: Decided) -> str:
    if decided.unread:
        return "not looked at: too many traces were waiting, or nothing was left of it; only the baseline counted"
    parts = "" if decided.whole else "; parts of it are gone or were too many to read"
    root = "complete" if decided.complete else "partial: its root never came"
    return f"{decided.spans} span{'' if decided.spans == 1 else 's'}, {root}{parts}"


def _outcome(decided: Decided, chosen_before: bool) -> str:
    u = (SPACE - decided.r) / SPACE
    number = f"its number {u:.6f}, from {_SOURCES[Source(decided.r_source)]}"
    left = f" that the cap left of {decided.wanted:.6g}" if decided.capped else ""
    probability = f"the probability {decided.own_pi:.6g}{left}"
    if decided.chosen and (chosen_before or u > decided.wanted):
        return f"chosen by an earlier decision; now with {probability}"
    if decided.capped and u <= decided.wanted:  # the cap compares it with the others of its window
        relation = "was" if decided.chosen else "was not"
        relation = f"{relation} low enough in its window, with {probability}"
    else:
        relation = f"is {'not ' if decided.chosen else ''}above {probability}"
    by = f", by policy {one_line(decided.policy)}" if decided.chosen else ""
    return f"{'chosen' if decided.chosen else 'not chosen'}: {number}, {relation}{by}"
