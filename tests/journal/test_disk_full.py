"""A disk without room: real limits of the system, in a child process (`full_disk.py`)."""

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
MOUNT = 'mkdir -p "$1" && mount -t tmpfs -o size=256k tmpfs "$1" && '


def child(case: str, directory: Path, before: str = "", *wrapper: str) -> None:
    script = f'{before}exec "$0" -m tests.journal.full_disk {case} "$1/journal"'
    command = [*wrapper, "sh", "-c", script, sys.executable, str(directory)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_write_that_fails_leaves_the_log_as_it_was_and_the_next_one_works(tmp_path: Path) -> None:
    child("file_limit", tmp_path)


def test_a_write_that_the_system_cut_short_inside_the_header_is_finished(tmp_path: Path) -> None:
    child("short_write", tmp_path)


def test_a_full_disk_refuses_delivers_restarts_and_recovers(tmp_path: Path) -> None:
    namespace = ["unshare", "--user", "--map-root-user", "--mount"]
    try:
        subprocess.run([*namespace, "sh", "-c", f"{MOUNT}true", "sh", str(tmp_path)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this system does not let us mount a small file system")
    child("full_file_system", tmp_path, MOUNT, *namespace)
