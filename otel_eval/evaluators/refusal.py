"""Whether the answer declines."""

import re
from typing import Annotated, Final

from msgspec import Meta

from otel_eval.config.section import Section
from otel_eval.evaluators.by_code import ByCode, plain
from otel_eval.evaluators.evaluator import NotApplicable, Result, Subject
from otel_eval.evaluators.texts import answering_call
from otel_eval.traces import records
from otel_eval.traces.records import ModelCall

_REASONS: Final = frozenset({"refusal", "content_filter"})
_BEGINNING: Final = 400
_SORRY: Final = (
    r"(?:(?:i['\u2019]?m|i am) (?:very |really |so |truly )?sorry|i apologi[sz]e|my apologies|sorry|unfortunately"
    r"|as an ai\b[^.,]{0,40}|(?:es )?tut mir (?:sehr |wirklich )?leid|leider|entschuldigung|ich bedaure"
    r"|(?:je suis )?(?:vraiment )?désolée?|malheureusement|je regrette|lo siento(?: mucho)?|lo lamento"
    r"|lamentablemente|disculpa|mi dispiace|purtroppo|spiacente|desculpe|sinto muito|lamento|infelizmente"
    r"|het spijt me|helaas)"
)
_DECLINES: Final = re.compile(
    rf"\s*(?:{_SORRY}[,.!:]?\s*)?(?:(?:but|aber|doch|mais|pero|ma|mas|maar)\s+)?(?:"
    r"i(?:['\u2019]m| am)? ?(?:can['\u2019]?t|cannot|can not|won['\u2019]?t|will not|unable to|not able to|not allowed to"
    r"|must (?:respectfully )?decline|have to decline) ?(?:to )?"
    r"(?:help(?! but\b)|assist|comply|fulfil|provide|support|discuss|do that|answer that|engage|create|generate|write|with)"
    r"|(?:(?:dabei|das|hierbei|damit|darauf|dazu|bei [^.!?,;\n]{1,40}) )?"
    r"(?:ich (?:kann|darf|werde|möchte)|(?:kann|darf|werde) ich)\b[^.!?,;\n]{0,80}"
    r"\b(?:nicht|keine[nmrs]?|nichts)\b[^.!?,;\n]{0,80}(?:helfen|unterstützen|beantworten|antworten|nachkommen|erfüllen|bereitstellen|erstellen|schreiben|behilflich)"
    r"|je ne (?:peux|puis|suis pas en mesure|suis pas autorisée?|vais)\b[^.!?,;\n]{0,60}"
    r"(?:aider|assister|répondre|fournir|créer|générer|rédiger|satisfaire)"
    r"|no (?:puedo|podemos|me es posible|estoy autorizad[oa])\b[^.!?,;\n]{0,60}"
    r"(?:ayudar|asistir|responder|proporcionar|crear|generar|escribir|cumplir)"
    r"|non (?:posso|sono in grado|mi è possibile)\b[^.!?,;\n]{0,60}"
    r"(?:aiutar|assist|risponde|forni|crear|generar|scriver|soddisfar)"
    r"|(?:eu )?não (?:posso|consigo|me é possível)\b[^.!?,;\n]{0,60}"
    r"(?:ajud|auxili|assist|respond|fornec|criar|gerar|escrever|atend)"
    r"|(?:ik (?:kan|mag|zal)|(?:daar|hier)?(?:bij|mee|op)? ?kan ik)\b[^.!?,;\n]{0,60}\b(?:niet|geen)\b[^.!?,;\n]{0,60}"
    r"(?:helpen|assisteren|beantwoorden|voldoen|verstrekken|maken|schrijven)"
    r"|(?:大変)?(?:申し訳|すみません|恐れ入り)[^\n]{0,80}(?:できません|できかねます|いたしかねます|お応えでき)"
    r"|(?:非常|很)?(?:抱歉|对不起|對不起|遗憾)[^。\n]{0,40}(?:无法|不能|無法|没法))",
    re.IGNORECASE,
)


class RefusalConfig(Section, frozen=True):
    """`phrases` are refusals of your own application: texts with which an answer that declines begins, in any case."""

    phrases: tuple[Annotated[str, Meta(min_length=1, max_length=500)], ...] = ()


class Refusal(ByCode):
    """0 when the answer is a refusal, 1 when it is none. Passes when it is none, though a refusal may be right.

    Signs are the finish reason (refusal, content filter), a refusal that the provider marked, and how the answer begins,
    in English, German, French, Spanish, Italian, Portuguese, Dutch, Japanese or Chinese. A model call that declined while a
    later one answered does not count (the signal of the same name takes it). That a fact is not known is no refusal.

    >>> from otel_eval.evaluators import example
    >>> evaluator = Refusal("refusal", RefusalConfig())
    >>> example.judged(evaluator, example.trace('''
    ... user: Cancel the order of my neighbour.
    ... assistant: I'm sorry, but I can't help with that.'''))
    "0 fail: the answer begins: I'm sorry, but I can't help"
    """

    Config = RefusalConfig
    revision = 2
    config: RefusalConfig

    def judge(self, subject: Subject) -> Result | NotApplicable:
        """The call that answered tells it, or the answer itself."""
        view = subject.view
        call = answering_call(view) or (view.model_calls[-1] if view.model_calls else None)
        said = view.final_output or (call.output_text if call is not None else "")
        sign = _marked(call) or self._phrase(said)
        span_id = None if call is None else call.span_id
        if sign:
            return self.result(0.0, False, sign, span_id)
        if not said.strip():
            return NotApplicable("there is no answer")
        return self.result(1.0, True, "the answer is no refusal", span_id)

    def _phrase(self, said: str) -> str | None:
        beginning = said[:_BEGINNING].lstrip(" \t\n*_#>\"'")
        match = _DECLINES.match(beginning)
        if match is not None:
            return f"the answer begins: {plain(match[0], 150)}"
        folded = beginning.casefold()
        found = next((phrase for phrase in self.config.phrases if folded.startswith(phrase.casefold())), None)
        return None if found is None else f"the answer begins: {plain(found, 150)}"


def _marked(call: ModelCall | None) -> str | None:
    if call is None:
        return None
    reason = next((reason for reason in call.finish_reasons if reason in _REASONS), None)
    if reason is not None:
        return f"finish reason {reason}"
    if any(isinstance(part, records.Refusal) for message in call.output_messages for part in message.parts):
        return "the provider marked it as a refusal"
    return None
