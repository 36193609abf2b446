"""The systemd unit, as far as it can be told without a running systemd."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

UNIT = Path(__file__).parent.parent.parent / "deploy/systemd/otel-eval.service"
TEXT = UNIT.read_text()
ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
MAX_EXPOSURE = 20
"""In tenths, of 100: what systemd itself calls OK begins at 50."""


def setting(name: str) -> str:
    (value,) = re.findall(rf"^{name}=(.*)$", TEXT, re.MULTILINE)
    return str(value)


def test_it_uses_the_paths_that_its_head_and_the_configuration_name() -> None:
    head = TEXT[: TEXT.index("[Unit]")]
    program, *options = setting("ExecStart").split()
    assert program.removesuffix("/bin/otel-eval") in head
    assert options[-1] in head
    assert setting("EnvironmentFile") in head
    config = yaml.safe_load((UNIT.parent.parent / "otel-eval.yaml").read_text())
    assert Path(config["journal"]["directory"]).parent == Path("/var/lib") / setting("StateDirectory")
    assert int(config["service"]["drain_timeout"].rstrip("s")) < int(setting("TimeoutStopSec").rstrip("s"))
    for path in re.findall(r"deploy/[\w./-]+", head):
        assert (UNIT.parent.parent.parent / path.rstrip(".,")).exists(), path


@needs_systemd
def test_systemd_can_read_it(tmp_path: Path) -> None:
    assert ANALYZE is not None
    program = tmp_path / "otel-eval"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / UNIT.name
    unit.write_text(TEXT.replace(setting("ExecStart").split()[0], str(program)))
    done = subprocess.run([ANALYZE, "verify", "--man=no", str(unit)], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    unit.write_text(unit.read_text().replace("PrivateTmp=yes", "PrivateTmpp=yes"))
    done = subprocess.run([ANALYZE, "verify", "--man=no", str(unit)], check=False, capture_output=True, text=True)
    assert "PrivateTmpp" in done.stderr


@needs_systemd
def test_it_is_confined() -> None:
    assert ANALYZE is not None
    command = [ANALYZE, "security", "--offline=true", f"--threshold={MAX_EXPOSURE}", "--no-pager", str(UNIT)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr
