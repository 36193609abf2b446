"""Run all measurements and print their tables."""

from pathlib import Path

from tests.bench import hop, view


def main() -> None:
    Path(".build").mkdir(exist_ok=True)
    for title, rows in (
        ("CPU a span, hop against null hop (gRPC in and out, no compression)", hop.costs),
        ("Latency of Export at half load, spans of 4 kB, 20 a request", hop.latencies),
        ("Journal", hop.replay),
        ("Reading a trace: every field of its view and all signals", view.costs),
    ):
        print(f"\n{title}")
        for row in rows():
            print(row, flush=True)


if __name__ == "__main__":
    main()
