"""A YAML text as plain values, with variables filled in and the line of every key remembered."""

import os
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from otel_eval.errors import ConfigError

Path = tuple[str, ...]
_REFERENCE = re.compile(r"\$\$|\$\{([^}]*)\}|\$")
_VARIABLE = re.compile(r"env:([a-zA-Z_][a-zA-Z0-9_]*)(?::-(.*))?", re.DOTALL)


_RESOLVER: Any = yaml.SafeLoader("")


@dataclass
class Document:
    """`value` is the plain content, `lines` the line of each key by its path."""

    name: str
    value: Any = None
    lines: dict[Path, int] = field(default_factory=dict)

    def place(self, path: Path) -> str:
        """`file:line: key` of the nearest known ancestor of `path`."""
        key = ".".join(path)
        for length in range(len(path), -1, -1):
            if path[:length] in self.lines:
                return f"{self.name}:{self.lines[path[:length]]}: {key}"
        return f"{self.name}: {key}" if key else self.name


def parse(text: str, name: str) -> Document:
    """Read one YAML document; raises ConfigError."""
    document = Document(name)
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is not None:
            _prepare(node, (), document)
            document.value = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{name}{line}: not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{name}: not valid YAML: {error}") from None
    finally:
        loader.dispose()
    return document


def _prepare(node: yaml.Node, path: Path, document: Document) -> None:
    """Remember lines, refuse double keys, fill in variables."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            inner = (*path, str(key.value))
            if key.value in seen:
                raise ConfigError(f"{document.name}:{key.start_mark.line + 1}: {'.'.join(inner)} is given twice")
            seen.add(key.value)
            document.lines[inner] = key.start_mark.line + 1
            _prepare(value, inner, document)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            inner = (*path, f"[{index}]")
            document.lines[inner] = value.start_mark.line + 1
            _prepare(value, inner, document)
    elif isinstance(node, yaml.ScalarNode) and "$" in node.value:
        node.value = _expand(node.value, document.place(path))
        if node.style is None:  # an unquoted value may turn into a number or a boolean, as if it had been written there
            node.tag = _RESOLVER.resolve(yaml.ScalarNode, node.value, (True, False))


def _expand(text: str, place: str) -> str:
    def value(match: re.Match[str]) -> str:
        if match[0] == "$$" or match[1] is None:
            return "$"
        variable = _VARIABLE.fullmatch(match[1])
        if variable is None:
            raise ConfigError(f"{place}: {match[0]} is not known; allowed are ${{env:NAME}} and ${{env:NAME:-default}}")
        name, default = variable.groups()
        found = os.environ.get(name, default)
        if found is None:
            raise ConfigError(f"{place}: the environment variable {name} is not set")
        return found

    return _REFERENCE.sub(value, text)
