"""IP addresses. Version numbers of four parts look the same: those behind a word or sign for versions are left."""

import ipaddress
import re
from collections.abc import Iterator

from otel_eval.scrub.rules.finding import Finding, Span, scan

# The search goes for the first dot or colon, which are rarer than digits, and looks back for what stands before it.
_V4 = re.compile(r"\.(?<=[0-9]\.)[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(?![A-Za-z0-9_-])(?!\.[0-9])")
_V4_BEGINNING = re.compile(r"(?<![A-Za-z0-9_.+-])[0-9]{1,3}$")
# The address space that is given out begins with 2, 3, fc, fd or fe8 to feb, so with four digits before the first colon;
# anything else with colons is a time, a hardware address or code.
_V6 = re.compile(r":(?<=[0-9A-Fa-f]{4}:)(?<![A-Za-z0-9_:.].{5})[0-9A-Fa-f:.]{1,41}+(?![A-Za-z0-9_:])")
_GIVEN_OUT = re.compile(r"[23]|[fF](?:[cCdD]|[eE][89abAB])")
_VERSION = re.compile(r"(?i)(?:\bv|version_{0,2}|release|build|revision|[=~<>^]=|\w/|[a-z]@)[\"'`]?[\s:=]{0,3}[\"'`]?$")
_CONTEXT = 24
"""Characters in front of an address in which a word for versions counts."""


def find(text: str) -> Iterator[Finding]:
    """IPv4 and IPv6 addresses, except those that name no machine in particular (unspecified, loopback, broadcast).

    >>> [text[f.start : f.end] for text in ["from 203.0.113.7:443 to 2001:db8::7, agent/1.2.3.4"] for f in find(text)]
    ['203.0.113.7', '2001:db8::7']
    """
    yield from scan(_V4, text, "IP", _accept_v4)
    yield from scan(_V6, text, "IP", _accept_v6)


def _accept_v4(match: re.Match[str]) -> Span | None:
    text, dot = match.string, match.start()
    first = _V4_BEGINNING.search(text, max(0, dot - 3), dot)
    if first is None or not _is_address(first[0] + match[0]):
        return None
    start = first.start()
    return None if _VERSION.search(text[max(0, start - _CONTEXT) : start]) else (start, match.end())


def _accept_v6(match: re.Match[str]) -> Span | None:
    """The candidate, without the end of a sentence and without a port."""
    start = match.start() - 4
    written = match.string[start : match.end()].rstrip(".")
    if not _GIVEN_OUT.match(written):
        return None
    for address in (written, written.removesuffix(":"), written.rpartition(":")[0]):
        if _is_address(address):
            return start, start + len(address)
    return None


def _is_address(written: str) -> bool:
    try:
        address = ipaddress.ip_address(written)
    except ValueError:
        return False
    return not (address.is_unspecified or address.is_loopback or written == "255.255.255.255")
