"""`python -m otel_eval.demo`: the demo."""

import asyncio
import sys
from pathlib import Path

import click

from otel_eval.errors import OtelEvalError


@click.command("demo")
@click.option("--live", is_flag=True, help="Stay up with traffic until Ctrl-C, after the report.")
@click.option("--seconds", type=click.FloatRange(5, 3600), default=50.0, show_default=True, help="How long the traffic takes.")
@click.option("--traces", type=click.IntRange(20, 20_000), default=1000, show_default=True, help="How many traces it has.")
@click.option("--seed", type=int, default=7, show_default=True, help="The same seed tells the same story.")
@click.option(
    "--directory", type=click.Path(path_type=Path), default=Path("otel-eval-data/demo"), show_default=True, help="For its data."
)
def demo(live: bool, seconds: float, traces: int, seed: int, directory: Path) -> None:
    """Run a support agent through a hop, judge its answers, and show beside each estimate what is true."""
    try:
        from otel_eval.demo.running import Options, run
    except ImportError as error:
        click.echo(f"otel-eval demo: {error.name} is missing: pip install 'otel-eval[demo]'", err=True)
        sys.exit(1)
    try:
        right = asyncio.run(run(Options(directory, traces, seconds, live, seed)))
    except OtelEvalError as error:
        click.echo(f"otel-eval demo: {error}", err=True)
        sys.exit(1)
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    demo()
