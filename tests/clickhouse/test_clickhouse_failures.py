"""The table of error codes, and what of a server's text is kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_eval.clickhouse.failures import NOT_ABOUT_THE_DATA, RETRYABLE, STOPPED, TOO_LARGE, UnreachableError, failure
from otel_eval.errors import OtelEvalError, PermanentError, RetryableError, TooLargeError
from tests.clickhouse.conftest import Database


async def test_the_codes_have_the_engines_names(database: Database) -> None:
    names = RETRYABLE | TOO_LARGE | NOT_ABOUT_THE_DATA
    assert len(names) == len(RETRYABLE) + len(TOO_LARGE) + len(NOT_ABOUT_THE_DATA)
    assert RETRYABLE.keys() >= STOPPED
    asked = "SELECT code, errorCodeToName(code) FROM (SELECT arrayJoin({codes:Array(Int32)}) AS code)"
    assert dict((await database.reader.query(asked, {"codes": list(names)})).rows) == names


@pytest.mark.parametrize(
    ("text", "code", "kind"),
    [
        ("(total) memory limit exceeded: would use 2 GiB", 241, RetryableError),
        ("Query memory limit exceeded: would use 2 GiB", 241, TooLargeError),
        ("Too many parts (3000 with average size of 2 MiB)", 252, RetryableError),
        ("Too many partitions for single INSERT block (more than 100)", 252, TooLargeError),
        ("Table is in readonly mode", 242, RetryableError),
        ("HTTP driver received HTTP status 413", None, TooLargeError),
        ("HTTP driver received HTTP status 429", None, RetryableError),
        ("HTTP driver received HTTP status 503", None, UnreachableError),
        ("Server is stopping", 236, UnreachableError),
        ("HTTP driver received HTTP status 404, server response: <html>", None, PermanentError),
        (
            "std::exception. Code: 1001, type: std::__1::filesystem::filesystem_error, e.what() = filesystem error: in "
            'create_directories: No space left on device ["/data/store/7f7"]',
            1001,
            RetryableError,
        ),
        ("std::exception. Code: 1001, type: std::out_of_range, e.what() = vector", 1001, PermanentError),
        ("something new", 12345, PermanentError),
    ],
)
def test_the_kind(text: str, code: int | None, kind: type[OtelEvalError]) -> None:
    assert type(failure(text, code, [], insert=True)) is kind


async def test_a_setting_that_the_user_may_not_change_is_named(database: Database) -> None:
    with pytest.raises(PermanentError, match=r"this user may not change the setting max_result_rows: readonly = 1") as caught:
        await database.reader.query("SELECT 1", settings={"max_result_rows": 5})
    assert not caught.value.blames_request


def test_only_what_the_reader_needs_is_kept() -> None:
    text = (
        "Received ClickHouse exception, code: 60, server response: Code: 60. DB::Exception: Table otel.t does not exist. "
        "(UNKNOWN_TABLE) (version 26.9.2.1) (for url http://127.0.0.1:1)"
    )
    assert str(failure(text, 60, [], insert=False)) == "ClickHouse error 60: Table otel.t does not exist"


@given(st.text(min_size=4), st.sampled_from("'\""))
def test_data_and_secrets_stay_out(data: str, quote: str) -> None:
    cited = f"{quote}{data}{quote}"
    server = f"Code: 27. DB::ParsingException: Cannot parse input: expected {quote},{quote} before: {cited}: (at row 1)"
    assert str(failure(server, 27, [], insert=True)) == "ClickHouse error 27: Cannot parse input: expected"
    told = str(failure(f"DB::Exception: no {data * 300} (X)", 62, [data], insert=False))
    assert len(told) < 600
    assert data not in told or data in "ClickHouse error 62: no ****"
