"""Commands that look into the files of a hop which they may not read, or which are none: said plainly, without a traceback."""

import errno
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from otel_eval.cli import main

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
COMMANDS = [["explain", TRACE_ID], ["inspect", TRACE_ID], ["dlq", "list"], ["dlq", "drop", "--all"]]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_directory_that_cannot_be_read(command: list[str]) -> None:
    """A name that is too long stands for one that is not allowed: root may read everything."""
    line = [*command, "--set", f"journal.directory={'x' * 300}"]

    result = CliRunner().invoke(main, line)

    assert isinstance(result.exception, SystemExit)
    assert result.exit_code == 1
    assert os.strerror(errno.ENAMETOOLONG) in result.stderr


@pytest.mark.parametrize("command", COMMANDS[:2], ids=" ".join)
def test_a_log_that_cannot_be_read(command: list[str], tmp_path: Path) -> None:
    for kind in ("ledger", "traces"):
        (tmp_path / kind / "00000000000000000000.log").mkdir(parents=True)

    result = CliRunner().invoke(main, [*command, "--set", f"journal.directory={tmp_path}"])

    assert isinstance(result.exception, SystemExit)
    assert f"00.log: cannot be read: {os.strerror(errno.EISDIR)}" in result.stderr
