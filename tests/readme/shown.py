"""What README shows: commands, and what they answer."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from tests.readme.generate import README

_BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
_COMMENT = re.compile(r"\s+# .*")


class Shown(NamedTuple):
    """A command with the output below it."""

    command: str
    output: str


def _blocks(kind: str) -> Iterator[str]:
    return (found[2].replace("\\\n", " ") for found in _BLOCK.finditer(README.read_text()) if found[1] == kind)


def shell() -> list[str]:
    """Every line that is to be typed, without its comment."""
    typed = [line for block in _blocks("sh") for line in block.splitlines()]
    answered = [line for kind in ("console", "text") for block in _blocks(kind) for line in block.splitlines()]
    prompted = [line[2:] for line in answered if line.startswith("$ ")]
    return [_COMMENT.sub("", line) for line in (*typed, *prompted) if line]


def transcripts() -> list[Shown]:
    """What is shown with its output, which has to be the real one."""
    parts = (part for block in _blocks("console") for part in re.split(r"^\$ ", block, flags=re.MULTILINE))
    return [Shown(*part.split("\n", 1)) for part in parts if part]


def in_the_text() -> list[str]:
    """Commands of ours between the words, outside of the parts that are generated."""
    text = re.sub(r"<!-- generated: \w+ -->.*?<!-- end -->|```.*?```", "", README.read_text(), flags=re.DOTALL)
    return sorted(set(re.findall(r"`(otel-eval [^`]+)`", text)))
