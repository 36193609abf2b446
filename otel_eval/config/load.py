"""From YAML to a `Config`, with errors that help."""

import difflib
import enum
import functools
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from typing import Any, NamedTuple

import msgspec

from otel_eval.config import document, environment, values
from otel_eval.config.document import Document, Path
from otel_eval.config.models import Config, ExporterConfig
from otel_eval.errors import ConfigError

_EXPORTERS = "otel_eval.exporters"
_SECTIONS = "otel_eval.sections"
ID = re.compile(r"(?!.{101})[A-Za-z][A-Za-z0-9_]*(/[A-Za-z0-9_.-]+)?")
_KEY = re.compile(r"[\w./-]+")
_AT = re.compile(r"(?s)(.*?)(?: - at (?:`key` in )?`\$(.*)`)?")
_YAML_WORDS = {"`object": "`mapping", "`array": "`list", "Object missing": "missing"}


class Loaded(NamedTuple):
    """A configuration and where it came from; `notes` tell what was chosen because nothing was configured."""

    config: Config
    source: str
    notes: Sequence[str] = ()
    document: Document = Document("")

    @contextmanager
    def located(self) -> Iterator[None]:
        """What a part says of its settings, which it knows by their key alone, is said with their place in the file."""
        try:
            yield
        except ConfigError as error:
            raise ConfigError(self.document.located(str(error))) from None


def load(file: str | None, settings: Sequence[str] = ()) -> Loaded:
    """Read the file (None: defaults) with `key=value` settings laid over it; raises ConfigError."""
    doc = Document("(defaults)") if file is None else _read(file)
    if doc.value is None:
        doc.value = {}
    if not isinstance(doc.value, dict):
        raise ConfigError(f"{doc.name}: expected sections (allowed: {', '.join(_fields(Config))})")
    for setting in settings:
        _set(doc, setting)
    notes: list[str] = []
    if doc.value.get("exporters") is None:
        doc.value["exporters"], notes = environment.exporters()
        doc.origins[("exporters",)] = environment.ORIGIN
    config = convert(doc, Config, doc.value, ())
    for name, entry in _entry_points(_SECTIONS).items():  # sections that belong to a part
        config = msgspec.structs.replace(config, **{name: convert(doc, entry.load(), getattr(config, name), (name,))})
    if config.emit.mode == "hold":
        _check_hold(doc, config)
    _check_addresses(doc, config)
    if not config.exporters:  # what arrives would be acknowledged and then deleted
        raise ConfigError(f"{doc.place(('exporters',))}: expected at least one exporter; debug shows what arrives")
    exporters = {name: _exporter(doc, name, settings_of_one) for name, settings_of_one in config.exporters.items()}
    return Loaded(msgspec.structs.replace(config, exporters=exporters), doc.name, notes, doc)


def _check_hold(doc: Document, config: Config) -> None:
    """Raise ConfigError where it cannot be known, when a root comes, whether its trace is judged in time."""
    place = doc.place(("emit", "mode"))
    if not (config.sampling.enabled and config.judging.enabled):
        raise ConfigError(f"{place}: hold needs sampling and judging; without them nothing is ever scored (allowed: separate)")
    if config.sampling.cap is not None:
        raise ConfigError(f"{place}: hold cannot have sampling.cap: what is chosen is known too late (allowed: separate)")
    if config.emit.hold_timeout <= config.traces.quiet_period:
        raise ConfigError(
            f"{doc.place(('emit', 'hold_timeout'))}: expected more than traces.quiet_period, after which a trace is judged"
        )


def _check_addresses(doc: Document, config: Config) -> None:
    """Raise ConfigError for two servers of this hop on one address."""
    protocols, telemetry = config.receivers.otlp.protocols, config.telemetry
    listening = {
        "receivers.otlp.protocols.grpc.endpoint": protocols.grpc.endpoint if protocols.grpc else None,
        "receivers.otlp.protocols.http.endpoint": protocols.http.endpoint if protocols.http else None,
        "api.endpoint": config.api.endpoint,
        "telemetry.metrics": telemetry.metrics,
        "telemetry.health": telemetry.health,
    }
    taken: dict[str, str] = {}
    for key, address in listening.items():
        if address is not None and address.port:
            if address in taken:
                raise ConfigError(doc.located(f"{key}: {address} is the address of {taken[address]} too"))
            taken[address] = key


def _exporter(doc: Document, name: str, settings: Any) -> Any:
    path = ("exporters", name)
    if not ID.fullmatch(name):
        raise ConfigError(f"{doc.place(path)}: expected `type` or `type/name` of letters, digits and _.-, at most 100")
    config = convert(doc, exporter_class(name, doc.place(path)).Config, settings, path)
    if len(set(config.types)) < len(config.types):
        raise ConfigError(f"{doc.place((*path, 'types'))}: a kind is named twice")
    return config


def exporter_class(name: str, place: str = "exporters") -> Any:
    """The class for an exporter id (`type` or `type/name`) by its entry point; raises ConfigError for an unknown type."""
    kind = name.partition("/")[0]
    known = _entry_points(_EXPORTERS)
    if kind not in known:
        raise ConfigError(f"{place}: unknown exporter type {kind!r}{suggest(kind, known)}")
    return known[kind].load()


@functools.cache
def _entry_points(group: str) -> Mapping[str, metadata.EntryPoint]:
    return {entry.name: entry for entry in metadata.entry_points(group=group)}


def effective(config: Config) -> dict[str, Any]:
    """The configuration as plain values with every default filled in and secrets hidden.

    A section that is off is left out: written as null it would be on.
    """
    return typing.cast(dict[str, Any], _plain(config))


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        fields = {name: (getattr(value, name), wanted) for name, wanted in _fields(type(value)).items()}
        return {name: _plain(inner) for name, (inner, wanted) in fields.items() if inner is not None or not _struct(wanted)}
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    return msgspec.to_builtins(value, enc_hook=values.encode)


def _read(file: str) -> Document:
    try:
        with open(file, encoding="utf-8") as stream:
            return document.parse(stream.read(), file)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"{file}: cannot be read: {reason}") from None


def _set(doc: Document, setting: str) -> None:
    key, equals, text = setting.partition("=")
    if not equals or not _KEY.fullmatch(key):  # not shown: what has no key may be a secret
        raise ConfigError("--set: expected key=value, such as journal.sync=always")
    *parents, last = path = tuple(key.split("."))
    target = doc.value
    for part in parents:
        inner = {} if target.get(part) is None else target[part]
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {key}: there is nothing below {'.'.join(parents)}")
        target[part] = dict(inner)  # a copy: by an alias in the file, another place may have the same
        target = target[part]
    target[last] = document.parse(text, f"--set {key}").value
    doc.origins = {known: origin for known, origin in doc.origins.items() if known[: len(path)] != path}
    for length in range(1, len(path) + 1):
        doc.origins.setdefault(path[:length], "--set")


def convert(doc: Document, wanted: type, value: Any, path: Path) -> Any:
    """The value as this section; raises ConfigError with its place, what is allowed, and the nearest spelling."""
    value = _fill_empty_sections(wanted, value)
    unknown = [
        f"{doc.place((*path, *at))}: unknown key{suggest(at[-1], allowed)}" for at, allowed in _unknown_keys(wanted, value, ())
    ]
    if unknown:
        raise ConfigError("\n".join(unknown))
    try:
        return msgspec.convert(value, wanted, dec_hook=values.decode)
    except msgspec.ValidationError as error:
        match = _AT.fullmatch(str(error))
        message, at = match.groups() if match else (str(error), "")
        inner, found, kind = _locate(wanted, value, _split_path(at or ""))
        for word, ours in _YAML_WORDS.items():
            message = message.replace(word, ours)
        raise ConfigError(f"{doc.place((*path, *inner))}: {_shown(found, kind)}{message}{_allowed(found, kind)}") from None


def _split_path(at: str) -> Path:
    """msgspec's `.a.b[0]` as keys."""
    return tuple(re.findall(r"\[[^\]]*\]|[^.\[\]]+", at))


def _bare(wanted: Any) -> Any:
    """`wanted` without Optional and Annotated."""
    while typing.get_origin(wanted) in (types.UnionType, typing.Union, typing.Annotated):
        wanted = typing.get_args(wanted)[0]
    return wanted


def _struct(wanted: Any) -> type[msgspec.Struct] | None:
    """The section type in `wanted`, if it is one."""
    bare = _bare(wanted)
    return bare if isinstance(bare, type) and issubclass(bare, msgspec.Struct) else None


def _fields(struct: type[msgspec.Struct]) -> Mapping[str, Any]:
    return {field.name: field.type for field in msgspec.structs.fields(struct)}


def _fill_empty_sections(wanted: Any, value: Any) -> Any:
    """`grpc:` with nothing behind it means the section with its defaults, as in the Collector."""
    struct = _struct(wanted)
    if value is None and (struct or typing.get_origin(wanted) is dict):
        return {}
    if struct is None or not isinstance(value, dict):
        return value
    fields = _fields(struct)
    return {key: _fill_empty_sections(fields.get(key), item) for key, item in value.items()}


def _unknown_keys(wanted: Any, value: Any, path: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    if isinstance(value, list) and typing.get_origin(_bare(wanted)) is tuple:
        for index, item in enumerate(value):
            yield from _unknown_keys(typing.get_args(_bare(wanted))[0], item, (*path, f"[{index}]"))
    struct = _struct(wanted)
    if struct is None or not isinstance(value, dict):
        return
    fields = _fields(struct)
    for key, item in value.items():
        if key in fields:
            yield from _unknown_keys(fields[key], item, (*path, key))
        else:
            yield (*path, str(key)), fields


def _locate(wanted: Any, value: Any, at: Path) -> tuple[Path, Any, Any]:
    """The keys, the value and the type behind msgspec's path, which has `[...]` for whatever key of a mapping."""
    path: Path = ()
    for part in at:
        key: Any = part
        if struct := _struct(wanted):
            wanted = _fields(struct)[part]
        elif part == "[...]":
            wanted = typing.get_args(_bare(wanted))[1]
            key = next(key for key, item in value.items() if not _fits(item, wanted))
        else:
            wanted, key = typing.get_args(_bare(wanted))[0], int(part[1:-1])
        value = value[key]
        path = (*path, key if isinstance(key, str) else part)
    return path, value, wanted


def _fits(value: Any, wanted: Any) -> bool:
    try:
        msgspec.convert(value, wanted, dec_hook=values.decode)
    except msgspec.ValidationError:
        return False
    return True


def _shown(value: Any, wanted: Any) -> str:
    """The value, unless a secret may be in it: sections and mappings hold some."""
    hidden = isinstance(value, dict | list) or _struct(wanted) or "dict" in repr(wanted) or "Secret" in repr(wanted)
    return "" if hidden else f"{value!r:.100}: "


def _allowed(value: Any, wanted: Any) -> str:
    """The choices of an enumeration, with the nearest one."""
    wanted = _bare(wanted)
    if typing.get_origin(wanted) is typing.Literal:
        return suggest(value, typing.get_args(wanted))
    if isinstance(wanted, type) and issubclass(wanted, enum.Enum):
        return suggest(value, [member.value for member in wanted])
    return ""


def suggest(name: Any, allowed: typing.Iterable[str]) -> str:
    """The nearest spelling and all that is allowed, to be put behind a message."""
    names = sorted(allowed)
    near = difflib.get_close_matches(str(name), names, n=1)
    return f"{f'; did you mean {near[0]}?' if near else ''} (allowed: {', '.join(names)})"


__all__ = ["ExporterConfig", "Loaded", "effective", "exporter_class", "load"]
