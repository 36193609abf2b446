"""Text that speaks to a judge instead of being judged: hidden characters, and phrases that ask for a verdict.

Nothing here protects a judge: that is done by the fence (`prompt`) and by taking the verdict from a structured field
only (`verdict`). What is found is a warning on the score, and a reason to look. Phrases are looked for in English and, for
the commonest, in seven other languages; text in other words, in ciphers or in other scripts is not found.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple

from otel_eval.traces.values import to_text
from otel_eval.traces.view import TraceView

MAX_SCANNED: Final = 200_000
"""Characters of one text that are looked at, half of them at its beginning and half at its end."""

_MAX_TEXTS: Final = 400
_MAX_PER_TEXT: Final = 20_000
_MAX_FINDINGS: Final = 20
_MAX_EXCERPT: Final = 80
_CHUNK: Final = 2000
_APART: Final = "\n\0\n"
"""Between texts that are joined; it belongs to no phrase, and makes none."""

_MAX_MARKS: Final = 64

_TAGS: Final = "\U000e0000-\U000e007f"
_SELECTORS: Final = "\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef"
_BIDI: Final = "\u202a-\u202e\u2066-\u2069"
_ZERO_WIDTH: Final = (
    "\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200d\u2060-\u2065\u206a-\u206f\u3164\ufeff\uffa0\U0001d173-\U0001d17a"
)
_QUIET: Final = "\u00ad\u061c\u200e\u200f\ufff9-\ufffb\ufffe\uffff\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f"
_UNSEEN: Final = re.compile(f"[{_TAGS}{_SELECTORS}{_BIDI}{_ZERO_WIDTH}{_QUIET}]+")
_ASCII_UNSEEN: Final = dict.fromkeys(code for code in range(128) if _UNSEEN.match(chr(code)))
_LINE_ENDS: Final = re.compile("[\x85\u2028\u2029]")
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
# Their plain forms would be other numbers: 10⁶ is not 106.
_KEPT: Final = re.compile("([\u00b2\u00b3\u00b9\u00bc-\u00be\u2070\u2074-\u208e\u2150-\u215f\u2189]+)")

_FLAG: Final = re.compile("\U0001f3f4[\U000e0030-\U000e007a]{2,7}\U000e007f")
# Lone ones are common: joiners in Persian and in emoji, a byte order mark, selectors behind an emoji.
_HIDDEN: Final = {
    "tag_characters": re.compile(f"[{_TAGS}]"),
    "bidi_controls": re.compile(f"[{_BIDI}]"),
    "zero_width_characters": re.compile(f"[A-Za-z][{_ZERO_WIDTH}]{{1,3}}[A-Za-z]|[{_ZERO_WIDTH}]{{4}}"),
    "variation_selectors": re.compile(f"[{_SELECTORS}]{{2}}"),
}

_JUDGE: Final = r"(evaluator|judge|grader|rater|assessor|reviewer|scorer|marker|llm|evaluation (model|system|ai))"
_WORKS: Final = r"(answer|response|output|reply|conversation|trace|record|agent|assistant|submission|run|result|it|this)"
_TOP: Final = r"(highest|maximum|max|top|full|perfect|best|5|five|10|ten|100)"
_SCORES: Final = r"(scores?|marks?|grades?|ratings?|levels?|verdict|points)"
_SCORED: Final = ("score", "mark", "grade", "rating", "level", "verdict", "points", "rate ", "judge ")
_JUDGES: Final = (
    "evaluator", "judge", "grader", "rater", "assessor", "reviewer", "scorer", "marker", "llm", "evaluation ",
)  # fmt: skip
# By kind: expressions, each behind words of which every match has one. To look for words is ten times as fast.
_PHRASES: Final[dict[str, tuple[tuple[tuple[str, ...], str], ...]]] = {
    "speaks_to_judge": (
        (
            _JUDGES,
            rf"\b(as|to|dear|hey|hello|attention|note (to|for)) (an? |the |any |all )?(ai |automated |fair )?"
            rf"{_JUDGE}s?\b[:,!]"
            rf"|\b(note|message|instructions?) (to|for) (an? |the |any |all )?(ai |automated )?{_JUDGE}s?\b"
            rf"|\b(evaluators?|judges?|graders?)\b[^.\n]{{0,30}}\b(must|should|shall|will|are (instructed|required) to) (now )?"
            r"(give|assign|award|rate|score|grade|mark|return|output|choose|set|report)\b",
        ),
        (
            ("if you are ",),
            rf"\bif you are (an? |the )?(ai |automated |impartial )?({_JUDGE}|grading|judging|evaluating|scoring)\b",
        ),
    ),
    "asks_for_verdict": (
        (
            _SCORED,
            rf"\b(give|assign|award|grant|choose|return|output|set|report|select)\b[^.\n]{{0,40}}\b{_TOP}\b[^.\n]{{0,15}}\b{_SCORES}\b"
            rf"|\b(score|rate|grade|mark|judge) (the |this |that |my |your |its )?{_WORKS}\b[^.\n]{{0,30}}"
            rf"\b({_TOP}|fully_supported|safe|followed|direct|accomplished|correct|pass(ed)?)\b"
            rf"|\b{_SCORES}\b[^.\n]{{0,12}}(must|should|has to|needs to|shall) be\b[^.\n]{{0,15}}\b{_TOP}\b"
            r"|\b(verdict|score|rating)\b ?(is|=|:) ?(5/5|10/10|100%|five out of five|pass(ed)?\b|fully_supported)",
        ),
        (
            ("deserve", "earn", "merit", "warrant"),
            r"\b(deserves?|earns?|merits?|warrants?)\b[^.\n]{0,20}\b(5|five|10|ten|full|top|perfect|highest)\b",
        ),
    ),
    "overrides_instructions": (
        (
            ("ignore", "disregard", "forget", "override", "bypass", "follow", "no attention to"),
            r"\b(ignore|disregard|forget|override|bypass|do not follow|stop following|pay no attention to)\b[^.\n]{0,30}"
            r"\b(previous|prior|above|earlier|preceding|all|any|these|your|the)\b[^.\n]{0,25}"
            r"\b(instructions?|rules|rubrics?|prompts?|guidelines|criteria|scales?|directions)\b",
        ),
        (
            ("rubric", "grading", "scoring ", "evaluation criteria", "scale"),
            r"\b(new|updated|revised|changed) (rubric|grading (rules|scale)|scoring (rules|scale)|evaluation criteria)\b"
            r"|\b(the )?(rubric|scale|grading)\b[^.\n]{0,40}"
            r"\b(has been|was|is now) (changed|replaced|updated|inverted|reversed)\b",
        ),
        (
            ("ignor", "olvida"),
            r"ignorier\w{0,6}[^.\n]{0,40}(anweisung|regel|vorgabe)|ignore[zr]?\b[^.\n]{0,30}\b(instructions|consignes)\b"
            r"|(ignora|olvida|ignore)\b[^.\n]{0,30}\b(instrucciones|istruzioni|instru\u00e7\u00f5es)",
        ),
        (
            ("\u0438\u0433\u043d\u043e\u0440\u0438\u0440\u0443\u0439", "\u5ffd\u7565", "\u65e0\u89c6", "\u6307\u793a"),
            r"\u0438\u0433\u043d\u043e\u0440\u0438\u0440\u0443\u0439[^.\n]{0,40}\u0438\u043d\u0441\u0442\u0440\u0443\u043a\u0446"
            r"|(\u5ffd\u7565|\u65e0\u89c6|\u5ffd\u7565\u6389)[^\n]{0,15}(\u6307\u4ee4|\u6307\u793a|\u89c4\u5219)"
            r"|\u6307\u793a[^\n]{0,10}(\u7121\u8996|\u7121\u3057)",
        ),
    ),
    "fake_verdict": (
        (("injection_suspected",), "injection_suspected"),
        (
            ('analysis"', 'verdict"', 'score"', 'scores"'),
            r"\"(?:analysis\"\s{0,4}:\s{0,4}\{|verdict\"\s{0,4}:\s{0,4}\"?(pass|5|correct|safe)"
            r"|(reasoning|explanation)\"\s{0,4}:[^\n]{0,300}\"scores?\"\s{0,4}:"
            r"|scores?\"\s{0,4}:[^\n]{0,300}\"(reasoning|explanation)\"\s{0,4}:)",
        ),
    ),
    "fake_frame": (
        (
            ("<",),
            r"<(?:\s{0,4}/?\s{0,4}data(_[0-9a-z]{0,40})?\s{0,4}>|/?\s{0,4}(system|instructions?|rubric|assistant|human|record|judge)\s{0,4}>"
            r"|\|\s{0,4}(im_start|im_end|system|end|eot_id)\b)",
        ),
        (("inst]",), r"\[/?inst\]"),
        (("\n\nhuman", "\n\nsystem"), r"\n\n(human|system)\s{0,4}:"),
        (("data_",), r"\bdata_[0-9a-f]{8,}"),
        (("end of ", "close of "), r"\b(end|close) of (the )?(data|record|material|trace|conversation)\b"),
        (("##", "===", "---"), r"(^|\n)\s{0,4}(#{2,}|={3,}|-{3,})\s{0,4}(system|new instructions?|end|begin)\b"),
    ),
}
_EXPRESSIONS: Final = {
    kind: tuple((words, re.compile(expression)) for words, expression in found) for kind, found in _PHRASES.items()
}
# Cyrillic and Greek letters that look like Latin ones.
_LOOKALIKES: Final = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u0501\u051b\u0261\u03bf\u03b1\u03b9\u03bd\u03c1",
    "aeopcyxijsdlgoaivp",
)


class Cleaned(NamedTuple):
    """A text without what nobody sees, and what was hidden in it, by kind."""

    text: str
    hidden: tuple[str, ...]


class Finding(NamedTuple):
    """Why a text looks as if it were meant for a judge; `excerpt` is from the text, cleaned."""

    kind: str
    excerpt: str


def clean(text: str) -> Cleaned:
    """Normalise (NFKC, but superscripts and fractions stay) and strip what is invisible or turns the direction of text.

    >>> clean("pay\u200bload \uff1c/data\uff1e 10\u2076")
    Cleaned(text='payload </data> 10\u2076', hidden=('zero_width_characters',))
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.isascii():
        return Cleaned(text.translate(_ASCII_UNSEEN), ())
    unflagged = _FLAG.sub("", text)
    hidden = tuple(kind for kind, pattern in _HIDDEN.items() if pattern.search(unflagged))
    text = "".join(map(_normalised, _KEPT.split(_UNSEEN.sub("", _SURROGATES.sub("\ufffd", _LINE_ENDS.sub("\n", text))))))
    return Cleaned(_UNSEEN.sub("", _LINE_ENDS.sub("\n", text)), hidden)


def _normalised(text: str) -> str:
    """NFKC in pieces: on one long run of combining marks it would take time by the square."""
    if _KEPT.match(text):
        return text
    pieces, start = [], 0
    while start < len(text):
        end = start + _CHUNK
        while end < len(text) and end < start + _CHUNK + _MAX_MARKS and unicodedata.combining(text[end]):
            end += 1
        pieces.append(unicodedata.normalize("NFKC", text[start:end]))
        start = end
    return "".join(pieces)


def scan(text: str) -> list[Finding]:
    """What is suspicious in a text, each kind once."""
    if len(text) > MAX_SCANNED:
        text = text[: MAX_SCANNED // 2] + "\n" + text[-MAX_SCANNED // 2 :]
    cleaned = clean(text)
    found = [Finding(kind, excerpt(cleaned.text)) for kind in cleaned.hidden]
    return found + phrases(cleaned.text[:MAX_SCANNED])


def phrases_in(texts: Collection[str]) -> list[Finding]:
    """What `phrases` finds in each of these texts. In most there is nothing, and that is seen in all of them at once."""
    joined = _APART.join(texts)
    alone = len(joined.lower()) != len(joined) or phrases(joined)
    return [finding for text in texts for finding in phrases(text)] if alone else []


def phrases(text: str) -> list[Finding]:
    """As `scan`, for a text that has been cleaned."""
    lowered = text.lower()
    if len(lowered) != len(text):  # some capitals have two letters for one
        lowered = text
    plain = lowered if lowered.isascii() else lowered.translate(_LOOKALIKES)
    found = []
    for kind in _EXPRESSIONS:
        start = _first(kind, plain)
        if start is None and plain != lowered:
            start = _first(kind, lowered)
        if start is not None:
            found.append(Finding(kind, excerpt(text[start : start + 2 * _MAX_EXCERPT])))
    return found


def _first(kind: str, text: str) -> int | None:
    """Where the first phrase of this kind begins."""
    searched = (expression.search(text) for words, expression in _EXPRESSIONS[kind] if any(word in text for word in words))
    return min((match.start() for match in searched if match is not None), default=None)


def excerpt(text: str) -> str:
    """Its beginning, on one line."""
    return " ".join(text[: 2 * _MAX_EXCERPT].split())[:_MAX_EXCERPT]


def scan_view(view: TraceView) -> list[Finding]:
    """What is suspicious in a trace, of which so much is looked at as a judge would be shown at most."""
    found = (finding for text in islice(_texts(view), _MAX_TEXTS) for finding in scan(text[:_MAX_PER_TEXT]))
    return list(islice(found, _MAX_FINDINGS))


def _texts(view: TraceView) -> Iterator[str]:
    yield from filter(None, (view.user_input, view.final_output))
    for tool in view.tool_calls:
        yield from _told(tool.name, tool.arguments, tool.result, tool.error)
    for document in view.retrieved_documents:
        yield document.content


def _told(*values: object) -> Iterable[str]:
    return (to_text(value) for value in values if value is not None)
