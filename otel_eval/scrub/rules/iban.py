"""International bank account numbers (ISO 13616): a known country, its length, and the check of modulo 97."""

import re
from collections.abc import Iterator
from typing import Final

from otel_eval.scrub.rules.finding import Finding, Span, has, scan

_LENGTHS: Final = {
    entry[:2]: int(entry[2:])
    for entry in (
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 "
        "FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 "
        "LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 "
        "RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30"
    ).split()
}
"""Characters of an IBAN by country, from the SWIFT registry."""

# Digits are rarer than letters, so the search goes for the first check digit and looks back for the country.
_START = re.compile(r"[0-9](?<=[A-Za-z]{2}.)(?<![0-9A-Za-z_]...)[0-9][ \-\u00a0]?[0-9A-Za-z]")
_WHOLE: Final = {
    length: re.compile(rf"[0-9A-Za-z](?:[ \-\u00a0]?[0-9A-Za-z]){{{length - 1}}}(?![0-9A-Za-z_])")
    for length in set(_LENGTHS.values())
}


def find(text: str) -> Iterator[Finding]:
    """IBANs, in one piece or in groups.

    >>> [text[f.start : f.end] for text in ["pay DE89 3704 0044 0532 0130 00 now"] for f in find(text)]
    ['DE89 3704 0044 0532 0130 00']
    """
    return scan(_START, text, "IBAN", _accept) if has(text, b" aa00") else iter(())


def _accept(match: re.Match[str]) -> Span | None:
    start = match.start() - 2
    length = _LENGTHS.get(match.string[start : start + 2].upper())
    whole = _WHOLE[length].match(match.string, start) if length else None
    return whole.span() if whole and mod97("".join(filter(str.isalnum, whole[0]))) else None


def mod97(iban: str) -> bool:
    """Whether the check digits of an IBAN without separators are right.

    >>> mod97("GB82WEST12345698765432"), mod97("GB83WEST12345698765432")
    (True, False)
    """
    return int("".join(str(int(character, 36)) for character in iban[4:] + iban[:4])) % 97 == 1
