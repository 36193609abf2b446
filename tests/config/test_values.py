"""Durations, addresses and secrets."""

import contextlib
import re
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_eval.config.values import Duration, ListenAddress, Secret

DURATIONS = [
    ("0", 0),
    ("0s", 0),
    ("1ns", 1e-9),
    ("5us", 5e-6),
    ("5µs", 5e-6),
    ("200ms", 0.2),
    ("1.5s", 1.5),
    ("1h30m", 5400),
    ("2d", 172800),
    ("1m1ms", 60.001),
]
NO_DURATIONS: list[object] = [
    "",
    "s",
    "5",
    "5 s",
    "1s 2s",
    "5S",
    "+5s",
    "1e3s",
    ".5s",
    "5.s",
    "\u0665s",
    "5sec",
    " 5s",
    "5s\n",
    None,
    True,
    5.0,
    [],
]
ADDRESSES = [("127.0.0.1:1", True), ("127.9.9.9:1", True), ("localhost:1", True), ("[::1]:1", True)]
OPEN_ADDRESSES = [("0.0.0.0:1", False), ("[::]:1", False), ("127.example.com:1", False), ("tempo:1", False)]


@settings(max_examples=300)
@given(seconds=st.floats(0, 3e8) | st.integers(0, 10**12).map(lambda number: number / 1e6))
def test_a_duration_is_written_as_it_is_read(seconds: float) -> None:
    text = str(Duration(seconds))
    assert abs(Duration.parse(text) - seconds) <= max(1e-9, seconds * 1e-15)


@pytest.mark.parametrize(("text", "seconds"), DURATIONS)
def test_durations_are_written_as_the_collector_does(text: str, seconds: float) -> None:
    assert Duration.parse(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", NO_DURATIONS)
def test_other_values_are_no_durations(text: object) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        Duration.parse(text)


@given(ip=st.ip_addresses(), port=st.integers(0, 65535))
def test_an_address_to_listen_on_may_be_any_ip(ip: IPv4Address | IPv6Address, port: int) -> None:
    text = f"{ip}:{port}" if ip.version == 4 else f"[{ip}]:{port}"
    address = ListenAddress.parse(text)
    assert (address, address.host, address.port) == (text, str(ip), port)


@settings(max_examples=500)
@given(text=st.text("ab.:[]-_%09/@ \n", max_size=20))
def test_a_text_is_an_address_only_if_it_is_a_name_and_a_port(text: str) -> None:
    with contextlib.suppress(ValueError):
        address = ListenAddress.parse(text)
        assert re.fullmatch("[ab09_.-]+", address.host) or text.startswith(f"[{address.host}]")
        assert text.rpartition(":")[2].isdecimal()
        assert 0 <= address.port <= 65535


@pytest.mark.parametrize(("text", "loopback"), [*ADDRESSES, *OPEN_ADDRESSES])
def test_it_is_known_who_can_reach_an_address(text: str, loopback: bool) -> None:
    assert ListenAddress.parse(text).is_loopback == loopback


def test_a_secret_gives_its_text_only_when_asked() -> None:
    secret = Secret("t0ken")
    assert "t0ken" not in f"{secret} {secret!r} {[secret]} {secret!s}"
    assert secret.reveal() == "t0ken"
    assert secret == Secret("t0ken")
    assert secret not in (Secret("other"), "t0ken")
