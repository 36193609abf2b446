"""YAML as we read it: variables, texts and numbers, anchors, and nothing that a value could smuggle in."""

import contextlib
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from otel_eval.config import document, load
from otel_eval.errors import ConfigError
from tests.config.conftest import Read


def parsed(text: str) -> Any:
    return document.parse(text, "c.yaml").value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${env:TEXT}", "hello"),
        ("'${env:TEXT}'", "hello"),
        ("${env:NUMBER}", 64),
        ("'${env:NUMBER}'", "64"),
        ('"${env:NUMBER}"', "64"),
        ("${env:NUMBER}${env:NUMBER}", 6464),
        ("a-${env:NUMBER}-${env:TEXT}", "a-64-hello"),
        ("${env:FLAG}", True),
        ("'${env:FLAG}'", "true"),
        ("${env:NOTHING}", None),
        ("'${env:NOTHING}'", ""),
        ("${env:NONE_OF_THAT_NAME:-5}", 5),
        ("'${env:NONE_OF_THAT_NAME:-5}'", "5"),
        ("${env:NONE_OF_THAT_NAME:-}", None),
        ("${env:NONE_OF_THAT_NAME:-a:-b}", "a:-b"),
        ("${env:TEXT:-5}", "hello"),
        ("${env:NOTHING:-5}", None),
        ("$$", "$"),
        ("$${env:TEXT}", "${env:TEXT}"),
        ("$$$${env:TEXT}", "$${env:TEXT}"),
        ("$$${env:NUMBER}", "$64"),
        ("pa$word$", "pa$word$"),
        ("${env:DOLLAR}", "$$ ${env:TEXT}"),
        ("|\n  a ${env:NUMBER}\n", "a 64\n"),
    ],
)
def test_variables_are_filled_in(monkeypatch: pytest.MonkeyPatch, text: str, value: object) -> None:
    variables = {"TEXT": "hello", "NUMBER": "64", "FLAG": "true", "NOTHING": "", "DOLLAR": "$$ ${env:TEXT}"}
    for name, content in variables.items():
        monkeypatch.setenv(name, content)
    found = parsed(f"a: {text}")["a"]
    assert (found, type(found)) == (value, type(value))
    deeper = text.replace("\n", "\n    ")
    assert parsed(f"a:\n- b: {deeper}")["a"][0]["b"] == value


@pytest.mark.parametrize("text", ["a: {b: ${env:HOME}}", "a: [${env:HOME}]", "a:\n  b: {c: x${env:HOME}}"])
def test_a_variable_that_needs_quotes_is_told_so(text: str) -> None:
    with pytest.raises(ConfigError, match=r"c\.yaml:[12]: not valid YAML.*quote \$\{\.\.\.\}"):
        parsed(text)


def test_a_value_that_an_alias_repeats_is_filled_in_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNER", "never")
    monkeypatch.setenv("OUTER", "${env:INNER}")
    assert parsed("a: &a '$${env:INNER}'\nb: *a\nc: [*a]") == {"a": "${env:INNER}", "b": "${env:INNER}", "c": ["${env:INNER}"]}
    assert parsed("a: &a '${env:OUTER}'\nb: *a") == {"a": "${env:INNER}", "b": "${env:INNER}"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(value=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
@example("{a: b}")
@example("[a, b]")
@example("a: b\nc: d")
@example("*anchor")
@example("&anchor a")
@example("!!python/object/apply:os.abort []")
@example("<<")
@example("=")
@example("# comment")
@example("'")
@example("- a\n- b")
@example("2024-01-01")
@example("${env:HOME}")
def test_a_variable_is_one_value_and_never_structure(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("VALUE", value)
    found = parsed("before: 1\na: ${env:VALUE}\nbehind: 2")
    assert (found["before"], found["behind"], len(found)) == (1, 2, 3)
    assert isinstance(found["a"], str | int | float | None)
    assert not isinstance(found["a"], str) or found["a"] == value
    quoted = parsed("a: ['${env:VALUE}', \"${env:VALUE}\", 'x${env:VALUE}y']")["a"]
    assert quoted == [value, value, f"x{value}y"]


def test_a_variable_that_is_not_utf8_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BYTES", "caf\udce9")
    with pytest.raises(ConfigError, match=r"c\.yaml:1: a: holds a character"):
        parsed("a: ${env:BYTES}")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("1.5", 1.5),
        ("true", True),
        ("off", False),
        ("~", None),
        ("", None),
        ("2024-01-01", "2024-01-01"),
        ("2024-99-99", "2024-99-99"),
        ("=", "="),
        ("<<", "<<"),
        ("!!str 5", "5"),
        ("'5'", "5"),
    ],
)
def test_plain_values_are_null_booleans_numbers_and_texts(text: str, value: object) -> None:
    found = parsed(f"a: {text}")["a"]
    assert (found, type(found)) == (value, type(value))


def test_every_key_is_a_text() -> None:
    assert parsed("{1: a, yes: b, ~: c, 2024-01-01: d, 1.0: e, '<<': f}") == {
        "1": "a",
        "yes": "b",
        "~": "c",
        "2024-01-01": "d",
        "1.0": "e",
        "<<": "f",
    }


def test_anchors_aliases_and_merge_keys_work(read: Read) -> None:
    config = read(
        """
        exporters:
          otlp/a: &a {endpoint: "a:1", tls: &tls {insecure: true}, timeout: 5s}
          otlp/b: {<<: *a, endpoint: "b:1"}
          otlp/c: {<<: [*a, {compression: none}], endpoint: "c:1"}
          otlp/d: {endpoint: "d:1", tls: *tls}
        """
    )
    assert [one.endpoint for one in config.exporters.values()] == ["a:1", "b:1", "c:1", "d:1"]
    assert [float(one.timeout) for one in config.exporters.values()] == [5, 5, 5, 10]
    assert [one.compression for one in config.exporters.values()] == ["gzip", "gzip", "none", "gzip"]
    assert all(one.tls.insecure for one in config.exporters.values())


def test_a_setting_changes_one_place_even_where_an_alias_repeats_it(read: Read) -> None:
    text = "exporters: {otlp/a: &a {endpoint: 'a:1', retry_on_failure: {multiplier: 2}}, otlp/b: *a}"
    config = read(text, "exporters.otlp/a.retry_on_failure.multiplier=3", "exporters.otlp/b.endpoint=b:1")
    assert [one.retry_on_failure.multiplier for one in config.exporters.values()] == [3, 2]
    assert [one.endpoint for one in config.exporters.values()] == ["a:1", "b:1"]


def test_a_file_that_begins_with_a_byte_order_mark_is_read(read: Read) -> None:
    assert read("\ufeffjournal: {sync: always}").journal.sync == "always"


@settings(max_examples=300, deadline=None)
@given(text=st.text(string.printable + "\u00e9\u2028\ufeff", max_size=40) | st.text(":{}[]&*!|>'\"%@`#-,?<= \nab", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ConfigError):
        document.parse(text, "c.yaml")


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=60))
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = Path(tmp_path_factory.getbasetemp()) / "any.yaml"
    file.write_bytes(content)
    with contextlib.suppress(ConfigError):
        load(str(file))
