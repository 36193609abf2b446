"""Whether what an answer cites exists."""

from functools import cached_property
from typing import Final

from otel_eval.config.models import Fraction
from otel_eval.config.section import Section
from otel_eval.evaluators.by_code import ByCode, listed
from otel_eval.evaluators.citations import Citation, bare, citations, even, form, urls
from otel_eval.evaluators.evaluator import NotApplicable, Result, Subject
from otel_eval.evaluators.texts import answer, answering_span, given, leaves, retrieved, without_code
from otel_eval.traces.view import TraceView

_MAX_CITATIONS: Final = 200


class CitationIntegrityConfig(Section, frozen=True):
    """Passes from a share of `threshold` on."""

    threshold: Fraction = 1.0


class CitationIntegrity(ByCode):
    """Share of the citations in the answer that lead to something that was given, 0 to 1.

    - a URL must occur in a document, a result of a tool or the prompt (scheme, www, fragment and a slash at the end do
      not count); the front page of a site that occurs is enough;
    - [2] and [doc 2] need a second document, or the same mark in the prompt or a document; without documents they are not
      looked at;
    - [kb-17] must be a document's id, where documents have ids of that form;
    - a quote of 20 characters or more right in front of such a mark must stand in the context, word for word.

    Code is not looked at. Whether the source says what the answer says is for a judge.

    >>> from otel_eval.evaluators import example
    >>> evaluator = CitationIntegrity("citation_integrity", CitationIntegrityConfig())
    >>> example.judged(evaluator, example.trace('''
    ... user: How tall is the tower?
    ... document: The tower is 330 m tall. Source: https://tower.example/facts
    ... assistant: It is 330 m tall [1], see https://tower.example/height [2].'''))
    '0.333333 fail: not among what was given: https://tower.example/height, 2 (1 of 3 citations lead somewhere)'
    """

    Config = CitationIntegrityConfig
    revision = 2
    config: CitationIntegrityConfig

    def judge(self, subject: Subject) -> Result | NotApplicable:
        """Look each citation up."""
        view = subject.view
        found = _cited(view)
        if isinstance(found, NotApplicable):
            return found
        text = given(subject)
        if text is None:
            return NotApplicable("the context is too long")
        sources = _Sources(view, text)
        known = [(one.written, leads) for one in found if (leads := sources.leads_somewhere(one)) is not None]
        if not known:
            return NotApplicable("the answer cites nothing that can be looked up")
        broken = list(dict.fromkeys(written for written, leads in known if not leads))
        if not broken:
            return self.result(1.0, True, f"all {len(known)} citations lead to something", answering_span(view))
        good = sum(leads for _, leads in known)
        explanation = f"not among what was given: {listed(broken)} ({good} of {len(known)} citations lead somewhere)"
        return self.result(
            good / len(known), good / len(known) >= self.config.threshold, explanation, answering_span(view), broken
        )


def _cited(view: TraceView) -> list[Citation] | NotApplicable:
    said = answer(view)
    if not said.strip():
        return NotApplicable("there is no answer")
    if not any(sign in said for sign in ("[", "(", "【", "://")):
        return NotApplicable("the answer cites nothing")
    if not retrieved(view):
        return NotApplicable("nothing was retrieved, and no tool gave a result")
    return citations(without_code(said), _MAX_CITATIONS) or NotApplicable("the answer cites nothing")


class _Sources:
    """What can be cited."""

    def __init__(self, view: TraceView, text: str) -> None:
        self._documents = len(view.retrieved_documents)
        self._ids = {
            name.lower()
            for document in view.retrieved_documents
            for name in (document.id, *leaves(document.metadata))
            if name and len(name) < 100
        }
        self._text = text

    def leads_somewhere(self, one: Citation) -> bool | None:
        """None when nobody can tell."""
        if one.url is not None:
            return bare(one.url) in self._urls
        if one.number is not None:
            return self._has_number(one)
        if one.id is not None:
            return one.id.lower() in self._ids or (False if form(one.id) in self._forms else None)
        return even(one.quote or "") in self._even

    def _has_number(self, one: Citation) -> bool | None:
        if not self._documents:
            return None
        is_there = 0 < (one.number or 0) <= self._documents
        return is_there or f"[{one.written}]" in self._text or one.written in self._ids

    @cached_property
    def _urls(self) -> set[str]:
        found = urls(self._text)
        return found | {url.partition("/")[0] for url in found}

    @cached_property
    def _forms(self) -> set[str]:
        return {form(name) for name in self._ids}

    @cached_property
    def _even(self) -> str:
        return even(self._text)
