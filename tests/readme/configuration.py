"""The reference of the configuration, made from its models: a row is a section, with its keys and their defaults."""

import enum
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import NODEFAULT, Meta, Struct
from msgspec.structs import FieldInfo, fields

from otel_eval.config import Config, ExporterConfig, values
from otel_eval.config.load import _entry_points, exporter_class
from otel_eval.evaluators.judged import RubricEvaluator
from otel_eval.evaluators.pairwise import PairwiseEvaluator
from otel_eval.evaluators.panel import PanelEvaluator
from otel_eval.judging.configured import Selector

_WORDS = {
    str: "text", Path: "path", bool: "true, false", int: "integer", float: "number", values.Secret: "secret",
    values.ListenAddress: "host:port", values.Duration: "duration", values.PositiveDuration: "duration",
}  # fmt: skip
_MANY = 4
_JUDGES: dict[str, type[Struct]] = {
    "rubric": RubricEvaluator.Config, "panel": PanelEvaluator.Config, "pairwise": PairwiseEvaluator.Config, "only": Selector,
}  # fmt: skip


class Row(typing.NamedTuple):
    """One section: where it stands, its keys, and what they are for."""

    place: str
    keys: tuple[str, ...]
    meaning: str


def groups() -> Iterator[list[Row]]:
    """The sections of the file, of an evaluator and of an exporter, each with those in it.

    One that stands in several places is told once.
    """
    seen: dict[type, str] = {}
    parts = {name: entry.load() for name, entry in _entry_points("otel_eval.sections").items()}
    for field in fields(Config):
        if field.name == "exporters":
            yield from _exporters(seen)
        elif struct := _struct(parts.get(field.name, field.type)):
            yield list(_section(field.name, struct, seen))
        if field.name == "judging":
            yield from ([*_judge(f"judging.evaluators[].{name}", config, seen)] for name, config in _JUDGES.items())


def _judge(place: str, config: type[Struct], seen: dict[type, str]) -> Iterator[Row]:
    if config in seen:
        yield Row(place, (f"as `{seen[config]}`",), "")
    else:
        yield from _section(place, config, seen)


def _exporters(seen: dict[type, str]) -> Iterator[list[Row]]:
    yield list(_section("exporters.*", ExporterConfig, seen))
    base = {field.name: _default(field) for field in fields(ExporterConfig)}
    names: dict[type[Struct], list[str]] = {}
    for name in sorted(_entry_points("otel_eval.exporters"), key=len):
        names.setdefault(exporter_class(name).Config, []).append(name)
    for config, (name, *aliases) in names.items():
        own = [field for field in fields(config) if field.name not in base or base[field.name] != _default(field)]
        first, *others = _section(f"exporters.{name}", config, seen, own)
        also = f" Also called {', '.join(aliases)}." if aliases else ""
        yield [first._replace(meaning=first.meaning + also), *others]


def _section(place: str, struct: type[Struct], seen: dict[type, str], own: Sequence[FieldInfo] | None = None) -> Iterator[Row]:
    """The row of a section, and those of the sections in it that have not been told; `own` are the fields to tell."""
    seen[struct] = place
    inner: list[tuple[str, type[Struct]]] = []
    told = []
    for field in fields(struct) if own is None else own:
        below = _struct(field.type)
        if below is None or (own is not None and field.name in ExporterConfig.__struct_fields__):
            told.append(key(field))  # of what all exporters have, only the other default
        elif below in seen:
            told.append(f"`{field.name}` (as `{seen[below]}`)")
        else:
            told.append(f"`{field.name}`{' (optional)' if _default(field) is None else ''}")
            seen[below] = f"{place}.{field.name}{'[]' * (typing.get_origin(_bare(field.type)) is tuple)}"
            inner.append((seen[below], below))
    if len(inner) != len(told) or len(told) > 1:  # one that only holds another one says nothing
        yield Row(place, tuple(told), flat(struct.__doc__))
    for path, below in inner:
        yield from _section(path, below, seen)


def key(field: FieldInfo) -> str:
    """A key with its default, and what is allowed where the default does not show it."""
    default = _default(field)
    allowed = _allowed(field.type)
    if default is NODEFAULT:
        return f"`{field.name}` ({allowed or _word(field.type)}, required)"
    shown = _flow(default)
    if default is None or default in ("", (), {}):
        allowed = allowed or _word(field.type)
    return f"`{field.name}: {shown}`" + (f" ({allowed})" if allowed else "")


def _flow(value: Any) -> str:
    """As it is written in YAML; a long mapping of equal values says how many."""
    plain = msgspec.to_builtins(value, enc_hook=values.encode)
    if isinstance(plain, dict) and len(plain) > _MANY and len(set(plain.values())) == 1:
        return f"{{{next(iter(plain))}: {next(iter(plain.values()))}, and {len(plain) - 1} more}}"
    if isinstance(plain, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in plain.items()) + "}"
    if isinstance(plain, list | tuple):
        return f"[{', '.join(map(_flow, plain))}]"
    return msgspec.json.encode(plain).decode() if plain is None or isinstance(plain, bool) else str(plain)


def _allowed(wanted: Any) -> str:
    """The choices, or the bounds; empty where the type says it all."""
    if typing.get_origin(wanted) is Annotated:
        base, *metas = typing.get_args(wanted)
        bounds = [_bounds(meta) for meta in metas if isinstance(meta, Meta)]
        return _allowed(base) or " ".join(filter(None, bounds))
    if typing.get_origin(wanted) in (types.UnionType, typing.Union):
        return next(filter(None, map(_allowed, typing.get_args(wanted))), "")
    if typing.get_origin(wanted) is Literal:
        return ", ".join(map(str, typing.get_args(wanted)))
    if typing.get_origin(wanted) is tuple:
        return _allowed(typing.get_args(wanted)[0])
    if isinstance(wanted, type) and issubclass(wanted, enum.Enum):
        return ", ".join(member.value for member in wanted)
    return ""


def _bounds(meta: Meta) -> str:
    """Where only the least is stated and it is 0 or 1, there is nothing to say."""
    if meta.ge is not None and meta.le is not None:
        return f"{_number(meta.ge)} to {_number(meta.le)}"
    least = f"from {_number(meta.ge)}" if meta.ge is not None and meta.ge > 1 else ""
    above = f"above {_number(meta.gt)}" if meta.gt is not None else ""
    most = f"up to {_number(meta.le)}" if meta.le is not None else ""
    return ", ".join(filter(None, (least, above, most)))


def _number(value: float) -> str:
    return f"{value:,.10g}"


def _word(wanted: Any) -> str:
    bare = _bare(wanted)
    origin = typing.get_origin(bare)
    if origin is dict:
        return "mapping"
    if origin is tuple:
        return f"list of {_word(typing.get_args(bare)[0])}"
    return _WORDS.get(bare, getattr(bare, "__name__", str(bare)).lower())


def _bare(wanted: Any) -> Any:
    while typing.get_origin(wanted) in (types.UnionType, typing.Union, Annotated):
        wanted = typing.get_args(wanted)[0]
    return wanted


def _struct(wanted: Any) -> type[Struct] | None:
    """The section in a type, also as the item of a list."""
    bare = _bare(wanted)
    if typing.get_origin(bare) is tuple:
        bare = _bare(typing.get_args(bare)[0])
    return bare if isinstance(bare, type) and issubclass(bare, Struct) else None


def _default(field: FieldInfo) -> Any:
    return field.default_factory() if field.default_factory is not NODEFAULT else field.default


def flat(text: str | None) -> str:
    """A docstring as one line of a table."""
    return " ".join((text or "").split()).replace("|", "\\|")
