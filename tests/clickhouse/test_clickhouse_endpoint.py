"""Reading the address of a ClickHouse server."""

from pathlib import Path

import pytest

from otel_eval.clickhouse.endpoint import parse_endpoint
from otel_eval.config.values import Secret
from otel_eval.errors import ConfigError


def test_what_it_says_and_what_is_meant() -> None:
    full = parse_endpoint("key", "https://us%40er@host.example:9443/ot%65l", Secret("p"))
    assert (full.host, full.port, full.user, full.database, full.secure) == ("host.example", 9443, "us@er", "otel", True)
    assert full.secret() == "p"
    assert "Secret" not in repr(full)
    assert "'p'" not in repr(full)
    short = parse_endpoint("key", "http://host/")
    assert (short.port, short.user, short.database, short.secure, short.secret()) == (8123, "default", None, False, "")
    assert parse_endpoint("key", "https://[::1]").port == 8443


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("https://user:hunter2@host/db", "key: the password does not belong into the endpoint"),
        ("host:8443", "expected https://user@host:8443/database"),
        ("ftp://host", "expected https"),
        ("https://", "expected https"),
        ("https://host:99999", "expected https"),
        ("https://host/a/b", "expected https"),
        ("https://host/a?password=hunter2", "expected https"),
        ("https://[", "expected https"),
    ],
)
def test_what_cannot_be_meant(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        parse_endpoint("key", text)
    assert "hunter2" not in str(caught.value)


def test_one_password_that_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="either password or password_file"):
        parse_endpoint("key", "https://host", Secret("p"), tmp_path / "p")
    with pytest.raises(ConfigError, match=r"key: .*the password cannot be read: No such file"):
        parse_endpoint("key", "https://host", password_file=tmp_path / "p")
