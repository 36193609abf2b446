"""What README shows works, and what it says of the code is what the code says."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from otel_eval.config import Config, load
from otel_eval.judging import configured
from tests.judging.scripted import ScriptedJudge
from tests.readme.generate import COMMAND, PARTS, README, generated

PROJECT = README.parent
TEXT = README.read_text()
WRITTEN = re.sub(r"<!-- generated: \w+ -->.*?<!-- end -->", "", TEXT, flags=re.DOTALL)
YAML_BLOCKS = re.findall(r"```yaml\n(.*?)```", WRITTEN, re.DOTALL)
SECTIONS = (*Config.__struct_fields__, "provider")
SETTINGS = [text for text in re.findall(r"`(\w+: \{[^`]+\})`", WRITTEN) if text.startswith(SECTIONS)]
FOLDERS = "collector_config|deploy|otel_eval|tests"


def test_there_is_something_to_check() -> None:
    assert YAML_BLOCKS
    assert len(SETTINGS) >= 3


@pytest.mark.parametrize("name", PARTS)
def test_every_generated_part_is_there_once(name: str) -> None:
    assert TEXT.count(f"<!-- generated: {name} -->\n") == 1


def test_the_generated_parts_are_up_to_date() -> None:
    assert generated(TEXT) == TEXT, f"README does not say what the code says; write it anew with {COMMAND}"


def test_it_is_short() -> None:
    assert len(TEXT.splitlines()) <= 392


@pytest.mark.parametrize("text", YAML_BLOCKS)
def test_every_yaml_block_is_a_valid_configuration(text: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    config = load(str(file)).config
    configured.build(config, str(file), lambda baseline: ScriptedJudge(""), has_key=True)


@pytest.mark.parametrize("text", SETTINGS)
def test_every_setting_in_the_text_is_valid(text: str, tmp_path: Path) -> None:
    value = yaml.safe_load(text)
    if "provider" in value:
        value = {"judging": value}
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(value))
    load(str(file))


@pytest.mark.parametrize("path", sorted(set(re.findall(rf"[` =]((?:{FOLDERS})/[\w./-]*\w)", WRITTEN))))
def test_every_file_that_it_names_is_there(path: str) -> None:
    assert (PROJECT / path).exists()


@pytest.mark.parametrize("anchor", sorted(set(re.findall(r"\]\(#([^)]+)\)", WRITTEN))))
def test_every_link_leads_to_a_heading(anchor: str) -> None:
    headings = re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)
    assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_extra_that_it_names_is_there() -> None:
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(re.findall(r"(?:extra `|\.\[|otel-eval\[)(\w+)", WRITTEN)) <= extras.keys()
