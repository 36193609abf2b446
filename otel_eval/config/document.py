"""A YAML text as plain values, with variables filled in and the place of every key remembered.

Plain values are null, booleans, numbers and texts: dates and other tags of YAML are left out, and every key is a text.
Anchors, aliases and merge keys work; what they unfold to is bounded.
"""

import os
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from otel_eval.errors import ConfigError

Path = tuple[str, ...]
_REFERENCE = re.compile(r"\$\$|\$\{[^}]*\}?|\$")
_VARIABLE = re.compile(r"\$\{env:([a-zA-Z_][a-zA-Z0-9_]*)(?::-([^$]*))?\}")
_MAX_VALUES = 50_000
_TAG = "tag:yaml.org,2002:"
_PLAIN = tuple(_TAG + name for name in ("null", "bool", "int", "float", "str"))


class _Loader(yaml.SafeLoader):
    pass


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in (*_PLAIN, f"{_TAG}merge")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_RESOLVER: Any = _Loader("")


@dataclass
class Document:
    """`value` is the plain content, `origins` where each key was written (such as `file:3`), by its path."""

    name: str
    value: Any = field(default=None, repr=False)  # it holds secrets as they are written
    origins: dict[Path, str] = field(default_factory=dict)

    def place(self, path: Path) -> str:
        """`file:line: key`, with the line of the nearest known ancestor of `path`."""
        known = (path[:length] for length in range(len(path), -1, -1))
        origin = next((self.origins[ancestor] for ancestor in known if ancestor in self.origins), self.name)
        return f"{origin}: {'.'.join(path)}" if path else origin

    def located(self, message: str) -> str:
        """A message that begins with a key, with the place of that key before it."""
        text = message.removeprefix(f"{self.name}: ")
        known = {".".join(path): origin for path, origin in self.origins.items()}
        key = text.partition(": ")[0]
        while key and key not in known:
            key = key.rpartition(".")[0]
        return f"{known[key]}: {text}" if key else message


def parse(text: str, name: str) -> Document:
    """Read one YAML document; raises ConfigError."""
    document = Document(name)
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is not None:
            _Preparation(document).prepare(node, ())
            document.value = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{name}{line}: not valid YAML: {_reason(error)}") from None
    except yaml.reader.ReaderError as error:
        raise ConfigError(f"{name}: not valid YAML: {error.reason}") from None
    except RecursionError:
        raise ConfigError(f"{name}: nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{name}: not valid YAML: {error}") from None
    return document


def _reason(error: yaml.MarkedYAMLError) -> str:
    """The reason without names: a secret that begins with `*`, `&` or `!` is read as one."""
    parts = [re.sub(r"(alias|anchor|tag) .*", r"\1", part) for part in (error.context, error.problem) if part]
    if str(error.problem).startswith("found undefined"):
        parts.append("quote a text that begins with *, & or !")
    if str(error.problem).endswith("but got '{'"):
        parts.append("quote ${...} inside of {} and []")
    return ": ".join(parts)


class _Preparation:
    """Makes the nodes of one document ready: notes origins, refuses double keys, fills in variables."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._values = 0
        self._filled: set[int] = set()

    def prepare(self, node: yaml.Node, path: Path) -> None:
        """Make `node` ready; an alias is gone through each time that it is used, which bounds what it unfolds to."""
        self._values += 1
        if self._values > _MAX_VALUES:
            raise ConfigError(f"{self._document.name}: more than {_MAX_VALUES} values, each use of an alias counted")
        if isinstance(node, yaml.ScalarNode):
            self._prepare_scalar(node, path)
        elif node.tag not in (f"{_TAG}map", f"{_TAG}seq"):
            raise ConfigError(f"{self._document.place(path)}: this tag is not known")
        elif isinstance(node, yaml.MappingNode):
            self._prepare_mapping(node, path)
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                self._prepare_item(value, (*path, f"[{index}]"), value)

    def _prepare_item(self, value: yaml.Node, path: Path, written: yaml.Node) -> None:
        self._document.origins[path] = f"{self._document.name}:{written.start_mark.line + 1}"
        self.prepare(value, path)

    def _prepare_mapping(self, node: yaml.MappingNode, path: Path) -> None:
        seen: set[str] = set()
        for key, value in node.value:
            place = f"{self._document.name}:{key.start_mark.line + 1}"
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError(f"{place}: a key must be a text")
            if key.tag != f"{_TAG}merge":
                key.tag = f"{_TAG}str"
            inner = (*path, key.value)
            if key.value in seen:
                raise ConfigError(f"{place}: {'.'.join(inner)} is given twice")
            seen.add(key.value)
            self._prepare_item(value, inner, key)

    def _prepare_scalar(self, node: yaml.ScalarNode, path: Path) -> None:
        place = self._document.place(path)
        if "$" in node.value and id(node) not in self._filled:
            self._filled.add(id(node))
            node.value = _expand(node.value, place)
            if node.style is None:  # an unquoted value may turn into a number or a boolean, as if it had been written there
                node.tag = _RESOLVER.resolve(yaml.ScalarNode, node.value, (True, False))
        if node.tag == f"{_TAG}merge":
            node.tag = f"{_TAG}str"
        if node.tag not in _PLAIN:
            raise ConfigError(f"{place}: this tag is not known; quote a text that begins with !")
        if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in node.value):
            raise ConfigError(f"{place}: holds a character that no text has")


def _expand(text: str, place: str) -> str:
    def value(match: re.Match[str]) -> str:
        if not match[0].startswith("${"):
            return "$"
        variable = _VARIABLE.fullmatch(match[0])
        if variable is None:
            raise ConfigError(
                f"{place}: what ${{ begins is not known; allowed are ${{env:NAME}}, ${{env:NAME:-default}} and $$ for a $"
            )
        name, default = variable.groups()
        found = os.environ.get(name, default)
        if found is None:
            raise ConfigError(f"{place}: the environment variable {name} is not set")
        return found

    return _REFERENCE.sub(value, text)
