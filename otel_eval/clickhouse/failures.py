"""What an error of ClickHouse means for the request: may the same bytes be sent again?

The codes are those of ClickHouse's ErrorCodes; every one that is not listed is permanent and blames the request.
"""

import re
from collections.abc import Iterable

from otel_eval.errors import OtelEvalError, PermanentError, RetryableError, TooLargeError
from otel_eval.exporters.otlp import without_secrets

RETRYABLE = {
    # The server is busy, full, stopping, or waits for others.
    159: "TIMEOUT_EXCEEDED",
    160: "TOO_SLOW",
    201: "QUOTA_EXCEEDED",
    202: "TOO_MANY_SIMULTANEOUS_QUERIES",
    236: "ABORTED",
    241: "MEMORY_LIMIT_EXCEEDED",
    243: "NOT_ENOUGH_SPACE",
    252: "TOO_MANY_PARTS",
    394: "QUERY_WAS_CANCELLED",
    439: "CANNOT_SCHEDULE_TASK",
    473: "DEADLOCK_AVOIDED",
    692: "TOO_MANY_MUTATIONS",
    745: "SERVER_OVERLOADED",
    # Its disk or object store fails: with the data, not because of it.
    74: "CANNOT_READ_FROM_FILE_DESCRIPTOR",
    75: "CANNOT_WRITE_TO_FILE_DESCRIPTOR",
    76: "CANNOT_OPEN_FILE",
    499: "S3_ERROR",
    # It cannot reach another server.
    95: "CANNOT_READ_FROM_SOCKET",
    96: "CANNOT_WRITE_TO_SOCKET",
    198: "DNS_ERROR",
    203: "NO_FREE_CONNECTION",
    209: "SOCKET_TIMEOUT",
    210: "NETWORK_ERROR",
    279: "ALL_CONNECTION_TRIES_FAILED",
    # Replication: it is read-only for now, or does not know how the insert ended; the token makes another try safe.
    225: "NO_ZOOKEEPER",
    242: "TABLE_IS_READ_ONLY",
    285: "TOO_FEW_LIVE_REPLICAS",
    286: "UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE",
    289: "REPLICA_IS_NOT_IN_QUORUM",
    319: "UNKNOWN_STATUS_OF_INSERT",
    369: "ALL_REPLICAS_ARE_STALE",
    416: "REPLICA_STATUS_CHANGED",
    999: "KEEPER_EXCEPTION",
    # Credentials and rights: about us, not about the data; see the exporters' package docstring.
    164: "READONLY",
    192: "UNKNOWN_USER",
    193: "WRONG_PASSWORD",
    194: "REQUIRED_PASSWORD",
    195: "IP_ADDRESS_NOT_ALLOWED",
    497: "ACCESS_DENIED",
    516: "AUTHENTICATION_FAILED",
    # The schema is not there, or not yet as new as this program: somebody applies it, and nothing is lost until then.
    16: "NO_SUCH_COLUMN_IN_TABLE",
    60: "UNKNOWN_TABLE",
    81: "UNKNOWN_DATABASE",
    218: "TABLE_IS_DROPPED",
}
"""The same request may succeed later."""

TOO_LARGE = {
    307: "TOO_MANY_BYTES",
    396: "TOO_MANY_ROWS_OR_BYTES",
}
"""A smaller request could succeed. So could one after `memory limit of one query` or `too many partitions`."""

MISSING = frozenset({16, 60, 81, 218})
"""Of those that are retryable: a table, database or column is not there."""

STOPPED = frozenset({95, 96, 198, 209, 210, 236, 279})
"""Of those that are retryable: the server is stopping, or cannot reach another one."""

NOT_ABOUT_THE_DATA = {
    46: "UNKNOWN_FUNCTION",
    47: "UNKNOWN_IDENTIFIER",
    48: "NOT_IMPLEMENTED",
    50: "UNKNOWN_TYPE",
    62: "SYNTAX_ERROR",
    73: "UNKNOWN_FORMAT",
    115: "UNKNOWN_SETTING",
    344: "SUPPORT_IS_DISABLED",
    452: "SETTING_CONSTRAINT_VIOLATION",
}
"""Permanent, and a part of the request would be refused just the same."""

_STD_EXCEPTION = 1001
_OF_A_DISK = "filesystem error"
"""What of these exceptions comes from a disk that is full, read-only or gone; others may come from the data."""

_MAX_CHARACTERS = 500
_LARGE = re.compile(r"Too many partitions for single INSERT block|Query memory limit exceeded|[Mm]emory limit \(for query\)")
_RETRYABLE_STATUSES = frozenset({401, 403, 408, 429, 500, 502, 503, 504})  # of a proxy before the server
_NOT_THERE = frozenset({408, 502, 503, 504})
_FIXED_SETTING = re.compile(r"Setting (\w+) is readonly")  # what codes 164 and 452 say, found by the client
_HTTP_STATUS = re.compile(r"HTTP status (\d{3})")
_BEFORE = re.compile(r"^.*?DB::\w*Exception: (?:(?:Code: \d+\. )?DB::\w*Exception: )*", re.DOTALL)
_AFTER = re.compile(r"\.?\s*\([A-Z0-9_]+\)(?: \(version [^\n]*)?\s*(?:\(for url \S*\))?\s*$|,? Stack trace.*", re.DOTALL)
_DATA = re.compile(r"""['"\n]| here:| before:|: \(at row""")


class MissingError(RetryableError):
    """A table, database or column is not there, or not any more."""


class UnreachableError(RetryableError):
    """The server may have died or is stopping: no connection, half an answer, or that of somebody before it.

    An answer that is only late is none of these.
    """


def failure(text: str, code: int | None, secrets: Iterable[str], *, insert: bool) -> OtelEvalError:
    """The error of ours for what a server answered.

    Of the answer to an insert only the words before the first quotation are kept: the server repeats the data.
    """
    reason = _AFTER.sub("", _BEFORE.sub("", text, count=1))
    if insert:
        reason = _DATA.split(reason, maxsplit=1)[0].rstrip(" :,(")
    reason = without_secrets(reason, secrets)[:_MAX_CHARACTERS].strip()
    if code is None:
        return _without_code(text, reason)
    message = f"ClickHouse error {code}: {reason}"
    if code in TOO_LARGE or (code in RETRYABLE and _LARGE.search(text)):
        return TooLargeError(message)
    if code in MISSING:
        return MissingError(message)
    if code in STOPPED:
        return UnreachableError(message)
    if code in RETRYABLE or (code == _STD_EXCEPTION and _OF_A_DISK in text):
        return RetryableError(message)
    return PermanentError(message, blames_request=code not in NOT_ABOUT_THE_DATA)


def unreachable(error: BaseException, secrets: Iterable[str]) -> UnreachableError:
    """No answer: refused, cut, or too late."""
    return UnreachableError(f"ClickHouse cannot be reached: {without_secrets(str(error), secrets)[:_MAX_CHARACTERS]}")


def _without_code(text: str, reason: str) -> OtelEvalError:
    """What was said by something before ClickHouse, or by the client library itself."""
    reason = reason.partition("\n")[0]
    match = _HTTP_STATUS.search(text)
    if reason.startswith("Unrecognized column"):  # what code 16 says, found by the client
        return MissingError(f"ClickHouse: {reason}")
    if reason.startswith("Stream failed"):  # the answer was cut off
        return UnreachableError(f"ClickHouse: {reason}")
    if match is None:
        told = _FIXED_SETTING.sub(r"this user may not change the setting \1: readonly = 1 or a constraint in its profile", reason)
        return PermanentError(f"ClickHouse: {told}", blames_request=told == reason)
    status = int(match[1])
    if status == 413:
        return TooLargeError(f"ClickHouse: {reason}")
    if status in _RETRYABLE_STATUSES:
        return (UnreachableError if status in _NOT_THERE else RetryableError)(f"ClickHouse: {reason}")
    return PermanentError(f"ClickHouse: {reason}", blames_request=False)
