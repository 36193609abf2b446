"""JSON schemas, also from untrusted traces, checked by jsonschema in bounded time.

A schema is first prepared: what is kept are the keywords in `KEYWORDS`, references within the schema, and `pattern`
where the schema is trusted (the pattern then runs with a limit in time). Nothing is ever fetched. Where something had
to be left out, the schema says less than it did, never more: `oneOf` is then read as `anyOf`, and `not` and `if` are
left out. Type names may be in capitals and `nullable` is understood, as Gemini and OpenAPI write them.

A check that takes more than its number of steps, or comes too deep, is given up (`UncheckedError`): references can
unfold to any size. The number is smaller for larger values, since each step may look at all of it.
"""

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import cache, lru_cache
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from otel_eval.errors import OtelEvalError
from otel_eval.evaluators import patterns
from otel_eval.evaluators.texts import canonical
from otel_eval.traces.values import Plain

MAX_SCHEMA: Final = 1 << 15
"""Bytes of a schema as JSON; larger ones are not checked."""

MAX_VALUE: Final = 1 << 20
"""Bytes of a value as JSON; larger ones are not checked."""

_MAX_DEPTH: Final = 50
_WORK: Final = 10_000_000  # bytes looked at
_MIN_STEPS: Final = 40
_MAX_STEPS: Final = 10_000
_RUN: ContextVar["_Run"] = ContextVar("the check under way")

_SCHEMA: Final = frozenset({"additionalProperties", "items", "not", "if", "then", "else", "propertyNames"})
_SCHEMAS: Final = frozenset({"anyOf", "allOf", "oneOf", "prefixItems"})
_NAMED: Final = frozenset({"properties", "$defs", "definitions"})
_NUMBERS: Final = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
_COUNTS: Final = frozenset({"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"})
KEYWORDS: Final = _SCHEMA | _SCHEMAS | _NUMBERS | _COUNTS | {
    "properties", "type", "enum", "const", "required", "uniqueItems", "$ref", "pattern",
}  # fmt: skip
"""The keywords that constrain a value."""

_UNKNOWN: Final = frozenset({
    "patternProperties", "unevaluatedProperties", "unevaluatedItems", "$dynamicRef", "$recursiveRef", "dependencies",
    "dependentSchemas", "dependentRequired", "contains", "additionalItems",
})  # fmt: skip
_PYTHON_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "object": (dict,), "array": (list,), "string": (str,), "number": (int, float), "integer": (int,), "boolean": (bool,),
    "null": (type(None),),
}  # fmt: skip
_USUAL: Final = frozenset({"type", "properties", "required", "additionalProperties", "items", "enum"})


class UncheckedError(OtelEvalError):
    """The schema or the value cannot be checked; the text says why."""


def fault(schema: Plain, value: Plain) -> str | None:
    """What is wrong with the value by a schema from a trace, None when nothing is; raises UncheckedError.

    >>> fault({"type": "object", "required": ["city"]}, {})
    "'city' is a required property"
    """
    return _fault(canonical(schema), value, False)


def trusted_fault(schema: dict[str, Any], value: Plain) -> str | None:
    """As `fault`, by a schema that the user has configured."""
    return _fault(canonical(schema), value, True)


def refuse(schema: dict[str, Any]) -> None:
    """Raises ValueError for a configured schema that is none, or has parts that would not be checked."""
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        where = ".".join(map(str, error.absolute_path))
        raise ValueError(f"schema{f'.{where}' if where else ''}: {error.message:.200}") from None
    encoded = canonical(schema)
    if len(encoded) > MAX_SCHEMA:
        raise ValueError(f"schema: expected at most {MAX_SCHEMA} bytes as JSON")
    preparing = _Preparing(trusted=True)
    preparing.prepared(msgspec.json.decode(encoded), 0)
    if preparing.left_out:
        kept = ", ".join(sorted(KEYWORDS))
        raise ValueError(f"schema: cannot be checked: {', '.join(sorted(preparing.left_out))} (allowed: {kept}, refs to #/...)")


def _fault(encoded: bytes, value: Plain, trusted: bool) -> str | None:
    size = len(canonical(value))
    if size > MAX_VALUE:
        raise UncheckedError("the value is too large")
    if len(encoded) > MAX_SCHEMA:
        raise UncheckedError("the schema is too large")
    validator = _validator(encoded, trusted)
    if _surely_fits(validator.schema, value):
        return None
    token = _RUN.set(_Run(validator.schema, max(_MIN_STEPS, min(_MAX_STEPS, _WORK // (size + 1)))))
    try:
        error = next(validator.iter_errors(value), None)
    except RecursionError:
        raise UncheckedError("the schema or the value is nested too deeply") from None
    except TimeoutError:
        raise UncheckedError("a pattern of the schema takes too long") from None
    finally:
        _RUN.reset(token)
    if error is None:
        return None
    where = ".".join(map(str, error.absolute_path))
    return f"{where[:100]}: {error.message[:300]}" if where else str(error.message[:300])


@lru_cache(maxsize=256)
def _validator(encoded: bytes, trusted: bool) -> Any:
    from referencing import Registry

    try:
        schema = msgspec.json.decode(encoded)
    except ValueError:
        raise UncheckedError("the schema is no JSON") from None
    preparing = _Preparing(trusted=trusted)
    prepared = preparing.prepared(schema, 0)
    if preparing.left_out:
        prepared = _Preparing(trusted=trusted, loose=True).prepared(schema, 0)
    return _validator_class()(prepared, registry=Registry())


class _Preparing:
    """Makes a schema ready; `left_out` are the keywords that were left out."""

    def __init__(self, *, trusted: bool, loose: bool = False) -> None:
        self.left_out: set[str] = set()
        self._trusted = trusted
        self._loose = loose

    def prepared(self, schema: Plain, depth: int) -> Plain:
        """The schema with the known keywords only; True (anything goes) for what is none."""
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict) or depth > _MAX_DEPTH:
            self.left_out.add("nesting" if depth > _MAX_DEPTH else type(schema).__name__)
            return True
        kept: dict[str, Plain] = {}
        for keyword, value in schema.items():
            name, made = self._keyword(keyword, value, depth + 1)
            if name is not None:
                kept[name] = made
        if "patternProperties" in schema:  # which would have allowed some of the others
            kept.pop("additionalProperties", None)
        if schema.get("nullable") is True and "type" in kept:
            kept["type"] = [*kept["type"], "null"]
            if "enum" in kept:
                kept["enum"] = [*kept["enum"], None]
        return kept

    def _keyword(self, keyword: str, value: Plain, depth: int) -> tuple[str | None, Plain]:
        if keyword in _SCHEMA:
            return self._inner(keyword, value, depth)
        if keyword in _SCHEMAS and isinstance(value, list) and value:
            name = "anyOf" if keyword == "oneOf" and self._loose else keyword
            return name, [self.prepared(item, depth) for item in value]
        if keyword in _NAMED and isinstance(value, dict):
            return keyword, {name: self.prepared(item, depth) for name, item in value.items()}
        if keyword == "type":
            return self._type(value)
        if _is_plain(keyword, value) and (keyword != "pattern" or self._trusted):
            return keyword, value
        if keyword in KEYWORDS or keyword in _NAMED or keyword in _UNKNOWN:
            self.left_out.add(keyword)
        return None, None

    def _inner(self, keyword: str, value: Plain, depth: int) -> tuple[str | None, Plain]:
        if keyword in {"not", "if", "then", "else"} and self._loose:
            return None, None
        if keyword == "items" and isinstance(value, list):  # a tuple, as older drafts write it
            return "prefixItems", [self.prepared(item, depth) for item in value]
        return keyword, self.prepared(value, depth)

    def _type(self, value: Plain) -> tuple[str | None, Plain]:
        names = [str(name).lower() for name in value] if isinstance(value, list) else [str(value).lower()]
        if names and _PYTHON_TYPES.keys() >= set(names):
            return "type", names
        self.left_out.add("type")
        return None, None


def _is_plain(keyword: str, value: Plain) -> bool:
    """Whether a keyword has a value of the kind that it must have."""
    if keyword in _NUMBERS:
        return isinstance(value, int | float) and not isinstance(value, bool) and (keyword != "multipleOf" or value > 0)
    if keyword in _COUNTS:
        return isinstance(value, int) and not isinstance(value, bool)
    if keyword == "required":
        return isinstance(value, list) and all(isinstance(name, str) for name in value)
    if keyword == "$ref":
        return isinstance(value, str) and (value == "#" or value.startswith("#/"))
    kinds = {"pattern": str, "enum": list, "uniqueItems": bool, "const": object}
    return keyword in kinds and isinstance(value, kinds[keyword])


def _surely_fits(schema: Plain, value: Plain) -> bool:
    """Whether a value fits a schema of the usual keywords; False where jsonschema must tell.

    Most values fit, and this takes a fifth of the time.
    """
    if not isinstance(schema, dict):
        return schema is True
    if not (_USUAL.issuperset(schema) and _is_of_type(schema, value)):
        return False
    if isinstance(value, list):
        items = schema.get("items", True)
        return items is True or all(_surely_fits(items, item) for item in value)
    if isinstance(value, dict):
        known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        if not value.keys() >= set(schema.get("required", ())):
            return False
        for name, item in value.items():
            if not _surely_fits(known.get(name, others), item):
                return False
    return True


def _is_of_type(schema: dict[str, Plain], value: Plain) -> bool:
    if "enum" in schema and not (isinstance(value, str) and value in schema["enum"]):
        return False
    kind = type(value)
    for name in schema.get("type", ()):
        if kind in _PYTHON_TYPES[name]:
            return True
    return "type" not in schema


class _Run:
    """One check: the schema as a whole, and how many steps are left."""

    def __init__(self, schema: Plain, steps: int) -> None:
        self.schema = schema
        self.steps = steps


@cache
def _validator_class() -> Any:
    from jsonschema import Draft202012Validator, validators

    known = {**Draft202012Validator.VALIDATORS, "$ref": _ref, "pattern": _pattern, "uniqueItems": _unique_items}
    counted = {keyword: _counted(known[keyword]) for keyword in KEYWORDS if keyword in known}
    return validators.create(
        meta_schema={}, validators=counted, type_checker=Draft202012Validator.TYPE_CHECKER, id_of=lambda _: ""
    )


def _counted(check: Callable[..., Any]) -> Callable[..., Any]:
    """A keyword's check that costs a step."""

    def step(*arguments: Any) -> Any:
        run = _RUN.get()
        run.steps -= 1
        if run.steps < 0:
            raise UncheckedError("the schema takes too many steps on this value")
        return check(*arguments)

    return step


def _ref(validator: Any, ref: str, value: Plain, _schema: Plain) -> Iterator[Exception]:
    target = _RUN.get().schema
    for step in ref.split("/")[1:]:
        name = unquote(step).replace("~1", "/").replace("~0", "~")
        inner = dict(enumerate(target)) if isinstance(target, list) else target
        key = int(name) if isinstance(target, list) and name.isdecimal() else name
        target = inner.get(key) if isinstance(inner, dict) else None
    if not isinstance(target, dict | bool):
        raise UncheckedError(f"the schema refers to nothing: {ref:.100}")
    yield from validator.descend(value, target)


def _pattern(_validator: Any, pattern: str, value: Plain, _schema: Plain) -> Iterator[Exception]:
    from jsonschema import ValidationError

    if isinstance(value, str) and patterns.search(pattern, value) is None:
        yield ValidationError(f"{value[:100]!r} does not match {pattern!r:.100}")


def _unique_items(_validator: Any, wanted: bool, value: Plain, _schema: Plain) -> Iterator[Exception]:
    """jsonschema's own compares each item with each other one."""
    from jsonschema import ValidationError

    if wanted and isinstance(value, list) and len({canonical(item) for item in value}) < len(value):
        yield ValidationError("the items are not unique")
