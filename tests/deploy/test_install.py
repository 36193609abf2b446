"""The install steps of the image, run in a clean environment: the same commands, with other paths.

They fetch all dependencies from the package index and take a minute or two, so they run only when TEST_INSTALL is set.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.test_container import PROJECT, arguments

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif("TEST_INSTALL" not in os.environ, reason="fetches all dependencies anew; set TEST_INSTALL=1 for it"),
]


def test_the_steps_of_the_image_give_a_command_that_works(tmp_path: Path) -> None:
    source, target, builder = tmp_path / "src", tmp_path / "opt", tmp_path / "builder"
    source.mkdir()
    for rest in arguments("build", "COPY"):
        *names, place = rest.split()
        for name in names:
            destination = source / (name if place.startswith("./") else place)
            destination.parent.mkdir(exist_ok=True)
            if (PROJECT / name).is_dir():
                shutil.copytree(PROJECT / name, destination, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(PROJECT / name, destination)
    subprocess.run([sys.executable, "-m", "venv", str(builder)], check=True)  # stands for the base image
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    environment["PATH"] = f"{builder / 'bin'}:{environment['PATH']}"
    for command in arguments("build", "RUN"):
        step = command.replace("/opt/otel-eval", str(target / "otel-eval"))
        done = subprocess.run(step, shell=True, check=False, capture_output=True, text=True, cwd=source, env=environment)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    shutil.rmtree(source)
    program = target / "otel-eval/bin/otel-eval"
    assert not (program.parent / "pip").exists()
    for options in (
        ["--version"],
        ["validate", "--set", "exporters.debug={}"],
        ["plan", "--traces-per-day", "1000", "--drop", "0.1"],
    ):
        done = subprocess.run([program, *options], check=False, capture_output=True, text=True, cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stderr
