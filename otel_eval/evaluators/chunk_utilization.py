"""How much of what was retrieved the answer draws on."""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

from otel_eval.config.models import Fraction
from otel_eval.config.section import Section
from otel_eval.evaluators.by_code import ByCode, listed
from otel_eval.evaluators.evaluator import NotApplicable, Result, Subject
from otel_eval.evaluators.texts import MAX_CONTEXT, answer
from otel_eval.traces.records import Document

# Chinese and Japanese are written without blanks: each character is a word there.
_ASCII: Final = bytes(ord(chr(code).lower()) if code < 128 and chr(code).isalnum() else 0x20 for code in range(256))
_WORD: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+")
_MAX_CHUNKS: Final = 200
_SHORT: Final = 5

Run = tuple[str, str, str]


class ChunkUtilizationConfig(Section, frozen=True):
    """Passes from a share of `threshold` on."""

    threshold: Fraction = 0.2


class ChunkUtilization(ByCode):
    """Share of the retrieved chunks that the answer uses, 0 to 1.

    A chunk is used when the answer repeats two of its runs of three words, or a chunk of up to four words whole. Wording
    counts: an answer that says the same in other words uses nothing. The same text retrieved twice is one chunk; the first
    200 are looked at.

    >>> from otel_eval.evaluators import example
    >>> evaluator = ChunkUtilization("chunk_utilization", ChunkUtilizationConfig())
    >>> example.judged(evaluator, example.trace('''
    ... user: When was the bridge opened?
    ... document a: The bridge was opened in March 1932 by the mayor.
    ... document b: Ferries cross the harbour every ten minutes.
    ... assistant: The bridge was opened in March 1932.'''))
    '0.5 pass: 1 of 2 chunks used; unused: b'
    """

    Config = ChunkUtilizationConfig
    config: ChunkUtilizationConfig

    def judge(self, subject: Subject) -> Result | NotApplicable:
        """Compare runs of three words."""
        chunks = {document.content: document for document in subject.view.retrieved_documents if document.content.strip()}
        if not chunks:
            return NotApplicable("nothing was retrieved")
        if sum(map(len, islice(chunks, _MAX_CHUNKS))) > MAX_CONTEXT:
            return NotApplicable("the chunks are too long")
        said = _words(answer(subject.view))
        if not said:
            return NotApplicable("there is no answer")
        runs, line = set(_runs(said)), f" {' '.join(said)} "
        unused = [document for document in islice(chunks.values(), _MAX_CHUNKS) if not _is_used(document, runs, line)]
        total = min(len(chunks), _MAX_CHUNKS)
        used = total - len(unused)
        names = [document.id or document.content[:40] for document in unused]
        explanation = f"{used} of {total} chunks used{f'; unused: {listed(names)}' if unused else ''}"
        span_id = unused[0].span_id if unused else None
        return self.result(used / total, used / total >= self.config.threshold, explanation, span_id)


def _is_used(document: Document, runs: set[Run], line: str) -> bool:
    words = _words(document.content)
    if len(words) < _SHORT:
        return f" {' '.join(words)} " in line
    found = filter(runs.__contains__, _runs(words))
    first = next(found, None)
    return first is not None and any(run != first for run in found)


def _runs(words: list[str]) -> Iterator[Run]:
    """Each three words in a row."""
    return zip(words, words[1:], words[2:], strict=False)


def _words(text: str) -> list[str]:
    return text.encode().translate(_ASCII).decode().split() if text.isascii() else _WORD.findall(text.lower())
