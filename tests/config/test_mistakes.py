"""A wrong configuration is told by file, line, key, value and what is allowed."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from otel_eval.config import load
from otel_eval.errors import ConfigError
from otel_eval.exporters.running import build_exporters
from tests.config.conftest import Read
from tests.config.mistakes import MISTAKES, Mistake


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_is_told_with_its_place_and_what_is_allowed(read: Read, mistake: Mistake) -> None:
    with pytest.raises(ConfigError) as error:
        build_exporters(read(mistake.text))
    assert all(part in str(error.value) for part in mistake.says), str(error.value)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["journal.sync=allways"], ("--set: journal.sync: 'allways'", "did you mean always?")),
        (["journal.synk=always"], ("--set: journal.synk: unknown key; did you mean sync?",)),
        (["jurnal.sync=always"], ("--set: jurnal: unknown key; did you mean journal?",)),
        (["journal.sync.deeper=1"], ("--set journal.sync.deeper: there is nothing below journal.sync",)),
        (["journal=5"], ("--set: journal: Expected `mapping`, got `int`",)),
        (["journal={sync: allways}"], ("--set: journal.sync: 'allways'",)),
        (["journal.sync=[", "service.drain_timeout=1s"], ("--set journal.sync", "not valid YAML")),
        (["journal.sync=${env:NOT_SET_ANYWHERE}"], ("--set journal.sync", "NOT_SET_ANYWHERE is not set")),
        (["journal.sync"], ("--set: expected key=value, such as journal.sync=always",)),
        (["=always"], ("--set: expected key=value",)),
        (["exporters.otpl.endpoint=a:1"], ("--set: exporters.otpl: unknown exporter type",)),
        (["exporters.debug.verbosity=loud"], ("--set: exporters.debug.verbosity: 'loud'", "basic, detailed")),
    ],
)
def test_a_mistake_in_a_setting_is_told_as_one(read: Read, settings: Sequence[str], says: Sequence[str]) -> None:
    with pytest.raises(ConfigError) as error:
        read("journal:\n  sync: always\n", *settings)
    assert all(part in str(error.value) for part in says), str(error.value)
    assert "c.yaml" not in str(error.value)


def test_a_mistake_beside_a_setting_is_still_told_by_its_line(read: Read) -> None:
    with pytest.raises(ConfigError, match=r"c\.yaml:3: journal\.max_size_mib: 0"):
        read("journal:\n  sync: always\n  max_size_mib: 0\n", "journal.sync=never")


@pytest.mark.parametrize(("name", "reason"), [("none.yaml", "No such file"), (".", "Is a directory"), ("", "No such file")])
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, name: str, reason: str) -> None:
    file = str(tmp_path / name) if name else name
    with pytest.raises(ConfigError, match=f"cannot be read: {reason}"):
        load(file)


def test_a_long_value_is_cut_in_the_message(read: Read) -> None:
    with pytest.raises(ConfigError) as error:
        read(f"journal: {{max_size_mib: {'x' * 100_000}}}")
    assert len(str(error.value)) < 300
