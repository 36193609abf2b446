"""`otel-eval evaluate`: judge captured traces now, with nothing sampled, queued or sent anywhere."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from otel_eval.cli.options import config_option, load, plain_errors, set_option

if TYPE_CHECKING:
    from otel_eval.judging.direct import Answered


@click.command()
@click.option("--file", "files", multiple=True, required=True, metavar="FILE", help="Captured OTLP requests, as for inspect.")
@click.option("--evaluator", "names", multiple=True, metavar="NAME", help="A configured evaluator; all of them without it.")
@click.option("--expected", "expected", metavar="FILE", help="JSON object: the right answer, or another one, by trace id.")
@click.option("--timeout", type=click.FloatRange(0.1, 600), default=120.0, show_default=True, help="Seconds for each trace.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document for each trace, one a line.")
@config_option
@set_option
def evaluate(
    files: tuple[str, ...],
    names: tuple[str, ...],
    expected: str | None,
    timeout: float,
    as_json: bool,
    file: str | None,
    settings: tuple[str, ...],
) -> None:
    """Judge the traces in captured requests with the configured evaluators; status 2 when a score did not pass."""
    with plain_errors():
        loaded = load(file, settings)
        from otel_eval import logs

        logs.configure(loaded.config.telemetry.logs.level, loaded.config.telemetry.logs.format)  # not onto stdout
        with loaded.located():
            passed = asyncio.run(_evaluate(loaded, [Path(one) for one in files], expected, names, timeout, as_json))
        sys.exit(0 if passed else 2)


async def _evaluate(
    loaded: Any, files: list[Path], expected_file: str | None, names: tuple[str, ...], timeout_s: float, as_json: bool
) -> bool:
    from otel_eval.errors import ConfigError
    from otel_eval.inspection.load import read
    from otel_eval.judging.direct import Direct
    from otel_eval.judging.running import Judges

    config = loaded.config
    views = read(files)
    if not views:
        raise ConfigError(f"{', '.join(map(str, files))}: there is no trace to judge")
    expected = {} if expected_file is None else _expected(Path(expected_file), {view.trace_id for view in views})
    judges = Judges(config, loaded.source)
    passed = True
    try:
        direct = Direct(judges.examiner, config.scrub, _nowhere)
        for view in views:
            answered = await direct.judge(view, expected.get(view.trace_id), names, timeout_s)
            passed = passed and all(score.passed is not False for score in answered.scores)
            _show(answered, as_json)
    finally:
        await judges.close()
    return passed


def _expected(file: Path, trace_ids: set[str]) -> dict[str, Any]:
    import msgspec

    from otel_eval.errors import ConfigError

    try:
        found = msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ConfigError(f"{file}: expected a JSON object with a value by trace id") from None
    expected = {key.lower(): value for key, value in found.items()}
    if unknown := sorted(expected.keys() - trace_ids):
        raise ConfigError(f"{file}: {unknown[0]!r:.100}: no such trace is in the files")
    return expected


async def _nowhere(_: bytes) -> None:
    """There is no hop to find a trace in."""


def _show(answered: "Answered", as_json: bool) -> None:
    import msgspec

    from otel_eval.inspection.plain_text import escaped, one_line

    if as_json:
        click.echo(escaped(msgspec.json.encode(answered).decode()))
        return
    click.echo(f"trace {answered.trace_id}  {answered.state}")
    for score in answered.scores:
        value = "" if score.value is None else f"{score.value:.2f}"
        mark = {True: "pass", False: "FAIL", None: ""}[score.passed]
        simulated = " (simulated)" if score.judge is not None and score.judge.simulated else ""
        click.echo(f"  {score.name:28} {value:>5} {mark:4} {one_line(score.explanation)}{simulated}")
    for result in answered.results:
        if result.reason:
            click.echo(f"  {result.evaluator:28}       {result.state}: {one_line(result.reason)}")
