"""From YAML to a `Config`, with errors that help."""

import difflib
import enum
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any, NamedTuple

import msgspec

from otel_eval.config import document, environment, values
from otel_eval.config.document import Document, Path
from otel_eval.config.models import Config, ExporterConfig
from otel_eval.errors import ConfigError

_EXPORTERS = "otel_eval.exporters"
_ID = re.compile(r"[A-Za-z][A-Za-z0-9_]*(/[A-Za-z0-9_.-]+)?")
_AT = re.compile(r"(?s)(.*?)(?: - at `(?:key in )?\$(.*)`)?")


class Loaded(NamedTuple):
    """A configuration and where it came from; `notes` tell what was chosen because nothing was configured."""

    config: Config
    source: str
    notes: Sequence[str] = ()


def load(file: str | None, settings: Sequence[str] = ()) -> Loaded:
    """Read the file (None: defaults) with `key=value` settings laid over it; raises ConfigError."""
    doc = _read(file) if file else Document("(defaults)", {})
    if doc.value is None:
        doc.value = {}
    for setting in settings:
        _set(doc, setting)
    notes: list[str] = []
    raw = doc.value if isinstance(doc.value, dict) else {}
    if "exporters" not in raw and isinstance(doc.value, dict):
        doc.value["exporters"], notes = environment.exporters()
    config = _convert(doc, Config, doc.value, ())
    exporters = {}
    for name, settings_of_one in config.exporters.items():
        path = ("exporters", name)
        if not _ID.fullmatch(name):
            raise ConfigError(f"{doc.place(path)}: expected `type` or `type/name` of letters, digits and _.-")
        exporters[name] = _convert(doc, exporter_class(name, doc.place(path)).Config, settings_of_one or {}, path)
    return Loaded(msgspec.structs.replace(config, exporters=exporters), doc.name, notes)


def exporter_class(name: str, place: str = "exporters") -> Any:
    """The class for an exporter id (`type` or `type/name`) by its entry point; raises ConfigError for an unknown type."""
    kind = name.partition("/")[0]
    known = {entry.name: entry for entry in metadata.entry_points(group=_EXPORTERS)}
    if kind not in known:
        raise ConfigError(f"{place}: unknown exporter type {kind!r}{_suggest(kind, known)}")
    return known[kind].load()


def effective(config: Config) -> dict[str, Any]:
    """The configuration as plain values with every default filled in and secrets hidden."""
    return typing.cast(dict[str, Any], msgspec.to_builtins(config, enc_hook=values.encode))


def _read(file: str) -> Document:
    try:
        with open(file, encoding="utf-8") as stream:
            return document.parse(stream.read(), file)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"{file}: cannot be read: {reason}") from None


def _set(doc: Document, setting: str) -> None:
    key, equals, text = setting.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {setting}: expected key=value, such as journal.sync=always")
    *parents, last = key.split(".")
    target = doc.value
    for part in parents:
        if not isinstance(target, dict):
            break
        if target.get(part) is None:
            target[part] = {}
        target = target[part]
    if not isinstance(target, dict):
        raise ConfigError(f"--set {key}: there is nothing below {'.'.join(parents)}")
    target[last] = document.parse(text, f"--set {key}").value


def _convert(doc: Document, wanted: type, value: Any, path: Path) -> Any:
    value = _fill_empty_sections(wanted, value)
    unknown = [
        f"{doc.place((*path, *at))}: unknown key{_suggest(at[-1], allowed)}" for at, allowed in _unknown_keys(wanted, value, ())
    ]
    if unknown:
        raise ConfigError("\n".join(unknown))
    try:
        return msgspec.convert(value, wanted, dec_hook=values.decode)
    except msgspec.ValidationError as error:
        match = _AT.fullmatch(str(error))
        message, at = match.groups() if match else (str(error), "")
        inner = _split_path(at or "")
        found, kind = _walk(wanted, value, inner)
        raise ConfigError(f"{doc.place((*path, *inner))}: {_shown(found, kind)}{message}{_allowed(found, kind)}") from None


def _split_path(at: str) -> Path:
    """msgspec's `.a.b[0]` as keys."""
    return tuple(re.findall(r"\[[^\]]*\]|[^.\[\]]+", at))


def _struct(wanted: Any) -> type[msgspec.Struct] | None:
    """The section type in `wanted`, through Optional and Annotated."""
    if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
        return wanted
    if typing.get_origin(wanted) in (types.UnionType, typing.Union, typing.Annotated):
        return next((found for part in typing.get_args(wanted) if (found := _struct(part))), None)
    return None


def _fields(struct: type[msgspec.Struct]) -> Mapping[str, Any]:
    return {field.name: field.type for field in msgspec.structs.fields(struct)}


def _fill_empty_sections(wanted: Any, value: Any) -> Any:
    """`grpc:` with nothing behind it means the section with its defaults, as in the Collector."""
    struct = _struct(wanted)
    if struct is None:
        return value
    if value is None:
        return {}
    if not isinstance(value, dict):
        return value
    fields = _fields(struct)
    return {key: _fill_empty_sections(fields.get(key), item) for key, item in value.items()}


def _unknown_keys(wanted: Any, value: Any, path: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    struct = _struct(wanted)
    if struct is None or not isinstance(value, dict):
        return
    fields = _fields(struct)
    for key, item in value.items():
        if key in fields:
            yield from _unknown_keys(fields[key], item, (*path, key))
        else:
            yield (*path, str(key)), fields


def _walk(wanted: Any, value: Any, path: Path) -> tuple[Any, Any]:
    """The value and the type at `path`, None where they cannot be told."""
    for part in path:
        struct = _struct(wanted)
        wanted = _fields(struct).get(part) if struct else None
        value = value.get(part) if isinstance(value, dict) else None
    return value, wanted


def _shown(value: Any, wanted: Any) -> str:
    hidden = value is None or isinstance(value, dict | list) or "Secret" in repr(wanted)
    return "" if hidden else f"{value!r}: "


def _allowed(value: Any, wanted: Any) -> str:
    """The choices of an enumeration, with the nearest one."""
    if typing.get_origin(wanted) is typing.Literal:
        return _suggest(value, typing.get_args(wanted))
    if isinstance(wanted, type) and issubclass(wanted, enum.Enum):
        return _suggest(value, [member.value for member in wanted])
    return ""


def _suggest(name: Any, allowed: typing.Iterable[str]) -> str:
    names = sorted(allowed)
    near = difflib.get_close_matches(str(name), names, n=1)
    return f"{f'; did you mean {near[0]}?' if near else ''} (allowed: {', '.join(names)})"


__all__ = ["ExporterConfig", "Loaded", "effective", "exporter_class", "load"]
