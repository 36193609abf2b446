"""A secret is shown nowhere: not in the printed configuration, not in an error, not in a representation."""

import string

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from otel_eval.config import effective, load
from otel_eval.errors import ConfigError
from otel_eval.exporters.running import build_exporters

CORE = "s3cr3tc0re"
_around = st.text(string.ascii_letters + string.digits + "+/=_-. $%!*&{}[]:#'\"|>@`?\\", max_size=12)
secrets = st.builds(lambda before, behind: before + CORE + behind, _around, _around)

AUTHS = (
    "{token: SECRET}",
    "SECRET",
    "[SECRET]",
    "{token: [SECRET]}",
    "{token: {a: SECRET}}",
    "{tokn: SECRET}",
    "{token: SECRET, filename: x}",
    "{token: SECRET, file: x}",
)
EXPORTERS = (
    "headers: {authorization: SECRET, other: SECRET}",
    "headers: SECRET",
    "headers: [SECRET]",
    "headers: {authorization: [SECRET]}",
    "headers: {authorization: {value: SECRET}}",
    "headers: {authorization: SECRET, number: 5}",
    "headers: {authorization: SECRET, 'bad name': x}",
    "header: {authorization: SECRET}",
    "authorization: SECRET",
    "timeout: 5, headers: {authorization: SECRET}",
    "tls: SECRET",
)
QUOTED = (
    *(f"receivers: {{otlp: {{protocols: {{grpc: {{auth: {auth}}}}}}}}}" for auth in AUTHS),
    *(f"exporters: {{otlp: {{endpoint: 'backend:4317', {keys}}}}}" for keys in EXPORTERS),
    "receivers: {otlp: {protocols: {http: {auth: {token: SECRET}, token: SECRET}}}}",
    "receivers: {otlp: {protocols: {grpc: SECRET}}}",
    "receivers: {otlp: {protocols: SECRET}}",
    "receivers: {otlp: SECRET}",
    "receivers: SECRET",
    "exporters: {otlp: SECRET}",
    "exporters: {otlp: [SECRET]}",
    "exporters: SECRET",
    "exporters: [SECRET]",
)
UNQUOTED = (
    "receivers:\n  otlp:\n    protocols:\n      grpc:\n        auth:\n          token: SECRET\n",
    "exporters:\n  otlp:\n    endpoint: backend:4317\n    headers:\n      authorization: SECRET\n",
)
SETTINGS = (
    "exporters.otlp.headers.authorization=SECRET",
    "exporters.otlp.headers=SECRET",
    "exporters.otlp=SECRET",
    "receivers.otlp.protocols.grpc.auth.token=SECRET",
    "receivers.otlp.protocols.grpc.auth=SECRET",
    "exporters.otlp.headers.authorization:SECRET",
    "exporters.otlp.headers.authorization SECRET",
    "SECRET",
)


def everything_shown(file: str | None, *set_texts: str) -> str:
    """What a user may get to see of a configuration, whether it is right or wrong."""
    shown = ""
    try:
        loaded = load(file, set_texts)
        shown = repr(loaded) + yaml.safe_dump(effective(loaded.config))
        build_exporters(loaded.config)
    except ConfigError as error:
        shown += str(error)
    return shown


@pytest.mark.parametrize("text", QUOTED)
@settings(max_examples=8, deadline=None)
@given(secret=secrets)
def test_a_quoted_secret_is_not_shown(tmp_path_factory: pytest.TempPathFactory, text: str, secret: str) -> None:
    file = tmp_path_factory.getbasetemp() / "secret.yaml"
    file.write_text(text.replace("SECRET", "'" + secret.replace("'", "''").replace("$", "$$") + "'"))
    shown = everything_shown(str(file))
    assert "****" in shown or "secret.yaml:1: " in shown
    assert CORE not in shown


@pytest.mark.parametrize("text", UNQUOTED)
@settings(max_examples=100, deadline=None)
@given(secret=secrets)
@example(f"*{CORE}")
@example(f"&{CORE} x")
@example(f"&a &{CORE} x")
@example(f"!{CORE}")
@example(f"!!{CORE}")
@example(f"!{CORE}!{CORE} x")
@example(f"!<{CORE}")
@example(f"%{CORE}")
@example(f"@{CORE}")
@example(f"|{CORE}")
@example(f"'{CORE}")
@example(f'"\\{CORE}"')
@example(f"{CORE}: x")
@example(f"? {CORE}")
@example("{" + CORE + ": ")
@example("${" + CORE + "}")
@example("${env:x " + CORE)
@example("${env:x:-$" + CORE + "}")
def test_an_unquoted_secret_is_not_shown(tmp_path_factory: pytest.TempPathFactory, text: str, secret: str) -> None:
    file = tmp_path_factory.getbasetemp() / "secret.yaml"
    file.write_text(text.replace("SECRET", secret))
    assert CORE not in everything_shown(str(file))


@pytest.mark.parametrize("text", SETTINGS)
@settings(max_examples=8, deadline=None)
@given(secret=secrets.filter(lambda secret: not set(secret) & set("=:{?")))  # what is left of these is a key, and named
def test_a_secret_in_a_setting_is_not_shown(text: str, secret: str) -> None:
    assert CORE not in everything_shown(None, text.replace("SECRET", secret), "exporters.otlp.endpoint=backend:4317")


@pytest.mark.parametrize("variable", ["HEADERS", "LOGS_HEADERS"])
@settings(max_examples=30, deadline=None)
@given(secret=secrets)
def test_a_secret_in_the_standard_variables_is_not_shown(variable: str, secret: str) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://backend:4317")
        for text in (f"authorization={secret}", secret.replace("=", "")):
            monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{variable}", text)
            assert CORE not in everything_shown(None)


@pytest.mark.parametrize("secret", ["123456789012", "0x12345678", "1_234_567_890", "123.456e+7", "12:30:45"])
@pytest.mark.parametrize("text", UNQUOTED)
def test_a_secret_that_yaml_takes_for_something_else_is_not_shown(
    tmp_path_factory: pytest.TempPathFactory, text: str, secret: str
) -> None:
    file = tmp_path_factory.getbasetemp() / "secret.yaml"
    file.write_text(text.replace("SECRET", secret))
    shown = everything_shown(str(file))
    assert "is it to be quoted?" in shown
    assert secret not in shown


@pytest.mark.parametrize("url", ["http://user:{}@backend:4317", "ftp://user:{}@backend", "http://user:{}@b:x", "user:{}@b:1"])
@pytest.mark.parametrize("exporter", ["otlp", "otlp_http"])
def test_a_password_in_an_endpoint_is_refused_and_not_shown(exporter: str, url: str) -> None:
    with pytest.raises(ConfigError) as error:
        build_exporters(load(None, [f"exporters.{exporter}.endpoint={url.format(CORE)}"]).config)
    assert CORE not in str(error.value)
