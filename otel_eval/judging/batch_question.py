"""Questions and their answers as they stand in the file of batches."""

import hashlib
import re
import zlib
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from otel_eval.judging import responses
from otel_eval.judging.batch_file import Found, Outcome
from otel_eval.judging.llm import Answer, Ask, Failure, JudgeError

_FINAL: Final = frozenset({Failure.BAD_REQUEST, Failure.TOO_LARGE, Failure.BLOCKED})
"""What would fail in the same way if it were asked directly."""

_TAG: Final = re.compile("<(data_[0-9a-f]{16})>")


class _Failed(Struct):
    """Why a question cannot be answered."""

    failure: Failure
    message: str


def key_of(ask: Ask) -> bytes:
    """The same for the same question in any process: without the nonce of its fence."""
    tag = _TAG.match(ask.material)
    texts = [ask.material, ask.question]
    if tag is not None:
        texts = [text.replace(tag[1], "data") for text in texts]
    rest = msgspec.json.encode([ask.schema, ask.max_tokens, ask.effort, ask.thinking], order="deterministic").decode()
    said = "\0".join((ask.model, ask.instructions, *texts, rest))
    return hashlib.sha256(said.encode(errors="surrogatepass")).digest()


def written(ask: Ask) -> bytes:
    """A question to be stored."""
    texts = {name: responses.encodable(getattr(ask, name)) for name in ("instructions", "material", "question")}
    return _packed(replace(ask, **texts))


def read(body: bytes) -> Ask:
    """A question that was stored, unpacked already."""
    return msgspec.msgpack.decode(body, type=Ask)


def written_answer(answer: Answer) -> bytes:
    """An answer to be stored."""
    return _packed(replace(answer, text=responses.encodable(answer.text), limits={}))


def answer_of(found: Found) -> Answer:
    """The answer to a question that is `answered`; raises JudgeError for one that has `failed`."""
    body = zlib.decompress(found.body or b"")
    if found.state == "failed":
        failed = msgspec.msgpack.decode(body, type=_Failed)
        raise JudgeError(failed.failure, failed.message)
    return msgspec.msgpack.decode(body, type=Answer)


def outcome(number: int, result: Answer | JudgeError | None) -> Outcome:
    """What has come of a question in a batch; None when the batch says nothing about it."""
    match result:
        case Answer():
            return Outcome(number, "answered", written_answer(result))
        case JudgeError(failure=failure) if failure in _FINAL:
            return Outcome(number, "failed", _packed(_Failed(failure, str(result))))
        case _:
            return Outcome(number, "direct", None)


def _packed(value: Any) -> bytes:
    return zlib.compress(msgspec.msgpack.encode(value), 1)
