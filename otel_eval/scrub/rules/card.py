"""Payment card numbers: a known issuer, a length that it uses, and the check digit of Luhn."""

import re
from collections.abc import Iterator

from otel_eval.scrub.rules.finding import Finding, Span, most_digits, scan

# The look-behind stands behind the first digit: the engine then skips to a digit quickly.
_NUMBER = re.compile(
    r"[2-6](?<![A-Za-z0-9_.].)(?<![0-9]-.)"
    r"(?:[0-9]{12,18}+|[0-9]{3}([ \-\u00a0])[0-9]{4,6}\1([0-9]{4,5})(?:\1([0-9]{1,4})(?:\1[0-9]{1,3})?)?)"
    r"(?![0-9A-Za-z_])(?!\.[0-9])"
)
_ISSUERS: tuple[tuple[tuple[str, ...], frozenset[int]], ...] = (
    (("4",), frozenset({13, 16, 19})),  # Visa
    (("51", "52", "53", "54", "55"), frozenset({16})),  # Mastercard
    (("222", "223", "224", "225", "226", "227", "228", "229", "23", "24", "25", "26", "270", "271", "2720"), frozenset({16})),
    (("34", "37"), frozenset({15})),  # American Express
    (("300", "301", "302", "303", "304", "305", "309", "36", "38", "39"), frozenset({14})),  # Diners Club
    (("352", "353", "354", "355", "356", "357", "358"), frozenset({16, 17, 18, 19})),  # JCB
    (("6011", "644", "645", "646", "647", "648", "649", "65", "62"), frozenset({16, 17, 18, 19})),  # Discover, UnionPay
    (("50", "56", "57", "58", "63", "67"), frozenset(range(13, 20))),  # Maestro
    (("2200", "2201", "2202", "2203", "2204", "60"), frozenset({16, 17, 18, 19})),  # Mir, RuPay
)
_FEWEST = 13
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def find(text: str) -> Iterator[Finding]:
    """Card numbers of 13 to 19 digits, in one piece or in the groups that cards show.

    >>> [text[f.start : f.end] for text in ["4111 1111 1111 1111, 4111 1111 1111 1112"] for f in find(text)]
    ['4111 1111 1111 1111']
    """
    return scan(_NUMBER, text, "CARD", _accept) if most_digits(text) >= _FEWEST else iter(())


def _accept(match: re.Match[str]) -> Span | None:
    """The whole candidate, or as many of its groups as make a card: other numbers may stand behind it."""
    separator = match[1]
    if not separator:
        return match.span() if _is_card(match[0]) else None
    for end in (match.end(), match.end(3), match.end(2)):
        if end > 0 and _is_card(match.string[match.start() : end].replace(separator, "")):
            return match.start(), end
    return None


def _is_card(digits: str) -> bool:
    known = any(digits.startswith(prefixes) and len(digits) in lengths for prefixes, lengths in _ISSUERS)
    return known and luhn(digits)


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others.

    >>> luhn("79927398713"), luhn("79927398710")
    (True, False)
    """
    plain, doubled = digits[-1::-2], digits[-2::-2]
    return (sum(map(int, plain)) + sum(_DOUBLED[int(digit)] for digit in doubled)) % 10 == 0
