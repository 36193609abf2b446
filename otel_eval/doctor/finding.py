"""What a check finds."""

from enum import StrEnum

from msgspec import Struct


class Status(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Finding(Struct, frozen=True):
    """One line: what was looked at, what came out, and what to do about it."""

    check: str
    status: Status
    text: str


def ok(check: str, text: str) -> Finding:
    """All is well."""
    return Finding(check, Status.OK, text)


def warning(check: str, text: str) -> Finding:
    """It works, but somebody should look at it."""
    return Finding(check, Status.WARNING, text)


def problem(check: str, text: str) -> Finding:
    """It does not work."""
    return Finding(check, Status.PROBLEM, text)
