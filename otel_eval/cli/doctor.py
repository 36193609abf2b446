"""`otel-eval doctor`: what keeps a configuration from working here."""

import asyncio
import json
import sys
from typing import TYPE_CHECKING

import click

from otel_eval.cli.options import config_option, load, set_option
from otel_eval.errors import ConfigError

if TYPE_CHECKING:
    from otel_eval.doctor import Finding


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--timeout", type=click.FloatRange(0.5, 60), default=10.0, show_default=True, help="Seconds for each check.")
@config_option
@set_option
def doctor(as_json: bool, timeout: float, file: str | None, settings: tuple[str, ...]) -> None:
    """Look for what keeps this configuration from working, without sending anything; status 1 when there is a problem."""
    from otel_eval.doctor import Status

    findings = _findings(file, settings, timeout)
    problems = sum(finding.status is Status.PROBLEM for finding in findings)
    if as_json:
        _print_json(findings, problems)
    else:
        _print(findings, problems)
    sys.exit(1 if problems else 0)


def _findings(file: str | None, settings: tuple[str, ...], timeout_s: float) -> "list[Finding]":
    from otel_eval import logs
    from otel_eval.doctor import Finding, Status
    from otel_eval.doctor.examining import examine

    logs.configure("error")
    try:
        loaded = load(file, settings)
    except ConfigError as error:
        return [Finding("configuration", Status.PROBLEM, str(error))]
    return asyncio.run(examine(loaded, timeout_s))


def _print_json(findings: "list[Finding]", problems: int) -> None:
    import msgspec

    from otel_eval.inspection.plain_text import escaped

    document = {"problems": problems, "findings": msgspec.to_builtins(findings)}
    click.echo(escaped(json.dumps(document, ensure_ascii=False, indent=2)))


def _print(findings: "list[Finding]", problems: int) -> None:
    from otel_eval.inspection.plain_text import one_line

    for finding in findings:
        click.echo(f"{finding.status:8} {finding.check:26} {one_line(finding.text)}")
    counted = "no problems" if not problems else "1 problem" if problems == 1 else f"{problems} problems"
    click.echo(f"{counted} found")
