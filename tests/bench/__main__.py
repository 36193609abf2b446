"""Run all measurements and print their tables."""

from pathlib import Path

from tests.bench import assembly, clickhouse, evaluators, hop, judging, queries, queue, traces, view


def main() -> None:
    Path(".build").mkdir(exist_ok=True)
    for title, rows in (
        ("1,000,000 spans of 100,000 traces", traces.run),  # first: it tells by how much memory has grown
        ("CPU a span, hop against null hop (gRPC in and out, no compression)", hop.costs),
        ("Latency of Export at half load, spans of 4 kB, 20 a request", hop.latencies),
        ("Journal", hop.replay),
        ("Reading a trace: every field of its view and all signals", view.costs),
        ("Assembly and sampling at intake", assembly.costs),
        ("Spans of 4 kB into the embedded ClickHouse", clickhouse.costs),
        ("Queries of the library on 2 million spans", queries.times),
        ("Judge queue, jobs of 10 kB", queue.life_cycles),
        ("Evaluators by code on a trace", evaluators.costs),
        ("Judging 2 % of all traces beside forwarding them", judging.costs),
    ):
        print(f"\n{title}")
        for row in rows():
            print(row, flush=True)


if __name__ == "__main__":
    main()
