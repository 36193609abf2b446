"""The kinds of value that YAML does not have: durations, secrets, endpoints."""

import re
from pathlib import Path
from typing import Any, Self

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d)")


class Duration(float):
    """Seconds, written as the Collector does.

    >>> Duration.parse("1m30s"), Duration.parse("200ms")
    (90.0, 0.2)
    """

    @classmethod
    def parse(cls, text: object) -> Self:
        """Read `500ms`, `2s`, `1h30m` or 0; raises ValueError for anything else."""
        if text in (0, "0"):
            return cls(0.0)
        parts = _PART.findall(text) if isinstance(text, str) else []
        if not parts or "".join(number + unit for number, unit in parts) != text:
            raise ValueError("expected a duration such as 500ms, 2s, 5m or 1h30m")
        return cls(sum(float(number) * _UNITS[unit] for number, unit in parts))

    def __str__(self) -> str:
        for unit, seconds in (("h", 3600.0), ("m", 60.0), ("s", 1.0)):
            if self >= seconds and self % seconds == 0:
                return f"{int(self // seconds)}{unit}"
        return f"{self * 1000:g}ms" if self else "0s"


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
        host, _, port = text.rpartition(":") if isinstance(text, str) else ("", "", "")
        if not host or not port.isdigit() or int(port) > 65535 or "/" in host or (":" in host and host[0] != "["):
            raise ValueError("expected host:port such as 127.0.0.1:4317")
        address = cls(text)
        address.host, address.port = host.strip("[]"), int(port)
        return address

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")


def decode(wanted: Any, value: Any) -> Any:
    """Read one of these values, or a path, out of plain YAML; raises ValueError or TypeError saying what was expected."""
    if issubclass(wanted, Duration | ListenAddress):
        return wanted.parse(value)
    if not isinstance(value, str):
        raise TypeError(f"expected a text, got {type(value).__name__}")
    if issubclass(wanted, Path):
        return Path(value).expanduser()
    return wanted(value)


def encode(value: Any) -> str:
    """The text of one of these values, for showing: secrets stay hidden."""
    return repr(value) if isinstance(value, Secret) else str(value)
