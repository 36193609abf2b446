"""The kinds of value that YAML does not have: durations, secrets, endpoints."""

import ipaddress
import re
from pathlib import Path
from typing import Any, Self

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h|d)")
_WRITTEN = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_LONGEST_S = 10 * 365 * 86400.0
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%\w+)?)\]|([A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*)):([0-9]{1,5})", re.ASCII)


class Duration(float):
    """Seconds, written as the Collector does.

    >>> Duration.parse("1m30s"), Duration.parse("200ms")
    (90.0, 0.2)
    """

    @classmethod
    def parse(cls, text: object) -> Self:
        """Read `500ms`, `2s`, `1h30m` or 0; raises ValueError for anything else."""
        if text in (0, "0") and text is not False:
            return cls(0.0)
        parts = _PART.findall(text) if isinstance(text, str) else []
        if not parts or "".join(number + unit for number, unit in parts) != text:
            raise ValueError("expected a duration such as 500ms, 2s, 5m or 1h30m")
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
        if seconds > _LONGEST_S:
            raise ValueError("expected a duration of ten years at most")
        return cls(seconds)

    def __str__(self) -> str:
        ns = round(self * 1e9)
        unit, size = next((unit, size) for unit, size in _WRITTEN.items() if ns % size == 0)
        return f"{ns // size}{unit}" if ns else "0s"


class PositiveDuration(Duration):
    """A duration of more than nothing."""

    @classmethod
    def parse(cls, text: object) -> Self:
        """As Duration.parse, but 0 raises ValueError."""
        duration = super().parse(text)
        if not duration:
            raise ValueError("expected a duration above 0")
        return duration


class Secret:
    """A text that is never printed: only `reveal` gives it."""

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the wire and nothing else."""
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "****"


class ListenAddress(str):
    """`host:port` to listen on; an IPv6 host stands in brackets.

    >>> ListenAddress.parse("[::1]:4317").host
    '::1'
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: object) -> Self:
        """Read `host:port`; raises ValueError for anything else."""
        match = _ADDRESS.fullmatch(text) if isinstance(text, str) else None
        if match is None or int(match[3]) > 65535:
            raise ValueError("expected host:port such as 127.0.0.1:4317")
        address = cls(text)
        address.host, address.port = match[1] or match[2], int(match[3])
        return address

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def decode(wanted: Any, value: Any) -> Any:
    """Read one of these values, or a path, out of plain YAML; raises ValueError or TypeError saying what was expected."""
    if issubclass(wanted, Duration | ListenAddress):
        return wanted.parse(value)
    if not isinstance(value, str):
        raise TypeError(f"expected a text, got {type(value).__name__}; is it to be quoted?")
    if issubclass(wanted, Path):
        return _path(value)
    if issubclass(wanted, Secret) and not (value.isascii() and value.isprintable()):
        raise ValueError("expected printable ASCII characters only (is there a line end in it?)")
    return wanted(value)


def _path(text: str) -> Path:
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise ValueError("there is no such home directory") from None
    if not text:
        raise ValueError("expected a path")
    return path


def encode(value: Any) -> str:
    """The text of one of these values, for showing: secrets stay hidden."""
    return repr(value) if isinstance(value, Secret) else str(value)
