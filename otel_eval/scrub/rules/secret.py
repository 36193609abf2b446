"""Credentials: keys by their known forms, private keys, tokens, and values behind words such as password or api_key."""

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Final

from otel_eval.scrub.rules.finding import Finding, Span, lowered, scan

# Patterns that begin with a literal are found at the speed of a substring, so there is one for each word.
_FORMS: Final = {
    beginning: re.compile(re.escape(beginning) + rest)
    for beginning, rest in {
        "sk-": r"(?<![A-Za-z0-9_]...)(?=[A-Za-z_-]{0,40}+[0-9])[A-Za-z0-9_-]{20,512}",  # sk-learn-thing has no digits
        "sk_live_": "[A-Za-z0-9]{16,256}",
        "sk_test_": "[A-Za-z0-9]{16,256}",
        "rk_live_": "[A-Za-z0-9]{16,256}",
        "whsec_": "[A-Za-z0-9+/=]{20,128}",
        "ghp_": "[A-Za-z0-9]{36,255}",
        "gho_": "[A-Za-z0-9]{36,255}",
        "ghu_": "[A-Za-z0-9]{36,255}",
        "ghs_": "[A-Za-z0-9]{36,255}",
        "ghr_": "[A-Za-z0-9]{36,255}",
        "github_pat_": "[A-Za-z0-9_]{40,255}",
        "glpat-": "[A-Za-z0-9_-]{20,128}",
        "AKIA": r"(?<![A-Za-z0-9_]....)[A-Z0-9]{16}(?![A-Za-z0-9])",
        "ASIA": r"(?<![A-Za-z0-9_]....)[A-Z0-9]{16}(?![A-Za-z0-9])",
        "xox": "[abeoprs]-[A-Za-z0-9-]{10,255}",
        "AIza": "[A-Za-z0-9_-]{35}",
        "ya29.": "[A-Za-z0-9_-]{20,1024}",
        "hf_": r"(?<![A-Za-z0-9_]...)[A-Za-z0-9]{30,128}",
        "npm_": "[A-Za-z0-9]{36}",
        "pypi-": "[A-Za-z0-9_-]{50,512}",
        "SG.": r"[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{32,64}",
        "gsk_": "[A-Za-z0-9]{40,64}",
        "pplx-": "[A-Za-z0-9]{40,64}",
        "dop_v1_": "[a-f0-9]{64}",
        "shpat_": "[a-fA-F0-9]{32}",
        "lin_api_": "[A-Za-z0-9]{40}",
    }.items()
}
"""Keys that say what they are."""

_LONG: Final = b"a" * 15
"""So many characters of a key stand together in each of these forms."""

_OF_KEYS: Final = bytes(0x61 if code < 128 and (chr(code).isalnum() or chr(code) in "_-+/=") else 0x20 for code in range(256))
_WEB_TOKEN = re.compile(r"eyJ(?<![A-Za-z0-9_-]...)[A-Za-z0-9_-]{8,4096}+\.[A-Za-z0-9_-]{8,16384}+\.[A-Za-z0-9_-]{0,2048}+")

_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_LONGEST_PRIVATE_KEY = 20_000
_KEY_END = re.compile(r"-----END(?: [A-Z0-9 ]{1,60}(?:-----)?)?")
_KEY_BODY = re.compile(r"[A-Za-z0-9+/=\s]{0,20000}")
_IN_URL = re.compile(r"://[^\s/:@\"'<>]{0,128}:([^\s/@\"'<>]{1,256})@")
_BEARER = re.compile(r"bearer[ \t]{1,4}([a-z0-9._~+/-]{16,4096}={0,2})")
_BASIC = re.compile(r"basic[ \t]{1,4}([a-z0-9+/]{8,1024}={0,2})")

_SAYS = r"[\"'`]?(?:[ \t]{0,3}(?::=|=>|=|:|\uff1a|[是为為は])|[ \t](?:is|ist|es|est|é)[ \t])[ \t]{0,3}([\"'`]?)"
"""What stands between a word and its value, with the quote that opens it."""

_SCHEME = r"(?:(?:token|api[_-]?key|key)[ \t]{1,4})?(?!aws4-)"
"""What may stand before a key in the header Authorization; Bearer and Basic are looked for by themselves."""

_QUOTED: Final = {
    "'": re.compile(r"([^'\"\n]{1,4096}+)'"),
    '"': re.compile(r"([^\"\n]{1,4096}+)\""),
    "`": re.compile(r"([^`\"\n]{1,4096}+)`"),
}
_UNQUOTED = re.compile(r"[^\s\"'`,;<>(){}\[\]\\]{4,256}+")
_LOOKED_AT = 256
_MORE = re.compile(r"[^\s\"'`,;<>(){}\[\]\\]{0,16384}+")
_PASSWORDS: Final = {
    stem: re.compile(stem + rest + _SAYS)
    for stem, rest in {
        "passw": "(?:d|ord|ort)",
        "passphrase": "",
        "contrase": "[nñ]a",
        "kennwort": "",
        "senha": "",
        "mot de passe": "",
        "пароль": "",
        "密码": "",
        "密碼": "",
        "パスワード": "",
        "pwd": "",
    }.items()
}
_KEY_OF = "(?:ess|unt|ate|ing|ion|uth|ter|red)"  # access, account, private, signing, encryption, auth, master, shared
_KEYS: Final = {
    stem: re.compile(stem + rest + _SAYS + (_SCHEME if stem == "authorization" else ""))
    for stem, rest in {
        "secret": "(?:[_ -]?key)?",
        "token": "",
        "credential": "s?",
        "x-amz-signature": "",
        "authorization": "",
        "key": rf"(?:(?<=apikey)|(?<=api[_ .-]key)|(?<={_KEY_OF}key)|(?<={_KEY_OF}[_ -]key))",
    }.items()
}
_TEMPLATE = re.compile(r"[$%]?[{<(\[]|\$[a-z_]|[*x.•…#-]{3,}$|your[_ -]|.{0,40}(?:environ|getenv|process\.env|vault:)")
_WORDS = frozenset(
    "string str text none null true false required optional password passwd secret token undefined redacted hidden masked basic "
    "bearer object number invalid incorrect wrong expired missing empty changed reset updated forgotten protected".split()
)
"""What stands behind `password:` without being one."""


def find(text: str) -> Iterator[Finding]:
    """Credentials.

    >>> text = 'curl -H "Authorization: Bearer 9f8e7d6c5b4a39281706" "https://bob:s3cret@host/"; password=hunter2'
    >>> [text[f.start : f.end] for f in find(text)]
    ['s3cret', '9f8e7d6c5b4a39281706', 'hunter2']
    """
    yield from _in_known_form(text)
    if "PRIVATE KEY" in text:
        yield from scan(_PRIVATE_KEY, text, "SECRET", _accept_private_key)
    if "://" in text:
        yield from scan(_IN_URL, text, "SECRET", lambda match: match.span(1))
    low = lowered(text)
    if "bearer" in low:
        yield from scan(_BEARER, low, "SECRET", _accept_bearer)
    if "basic" in low:
        yield from scan(_BASIC, low, "SECRET", lambda match: _accept_basic(match, text))
    for words, accept in ((_PASSWORDS, _accept_password), (_KEYS, _accept_assigned_key)):
        for stem, pattern in words.items():
            if stem in low:
                yield from scan(pattern, low, "SECRET", accept)


def _in_known_form(text: str) -> Iterator[Finding]:
    if _LONG in text.encode(errors="replace").translate(_OF_KEYS):
        for beginning, form in _FORMS.items():
            if beginning in text:
                yield from scan(form, text, "SECRET", re.Match.span)
    yield from scan(_WEB_TOKEN, text, "SECRET", re.Match.span)


def _accept_private_key(match: re.Match[str]) -> Span:
    """To the end line; a key that was cut off, as far as it goes."""
    text, start = match.string, match.start()
    end = text.find("-----END", match.end(), match.end() + _LONGEST_PRIVATE_KEY)
    if end < 0 or '"' in text[start:end]:
        body = _KEY_BODY.match(text, match.end())
        return start, body.end() if body else match.end()
    closing = _KEY_END.match(text, end)
    return start, closing.end() if closing else end


def _accept_bearer(match: re.Match[str]) -> Span | None:
    return match.span(1) if any(map(str.isdecimal, match[1])) else None


def _accept_basic(match: re.Match[str], text: str) -> Span | None:
    """User and password in base64; it is decoded to tell it from a word."""
    try:
        decoded = base64.b64decode(text[slice(*match.span(1))], validate=True)
    except (binascii.Error, ValueError):
        return None
    return match.span(1) if b":" in decoded else None


def _accept_password(match: re.Match[str]) -> Span | None:
    """A value in quotes, or one with more than letters in it: `password: required` is no password."""
    start, value, quoted = _value(match)
    if len(value) < 4 or _is_no_value(value) or (match[0].startswith("pwd") and value.startswith(("/", "~"))):
        return None  # pwd may be the working directory
    if not (quoted and " " not in value) and all(character.isalpha() or character in " ._-/'" for character in value):
        return None
    return _whole(match, start, value)


def _accept_assigned_key(match: re.Match[str]) -> Span | None:
    """Twelve characters or more, letters and digits mixed: shorter ones are words, counts and the tokens of a model.

    In a URL or a form other parameters may stand behind it.
    """
    start, value, quoted = _value(match)
    value = value if quoted else value.partition("&")[0]
    mixed = any(map(str.isdecimal, value)) and any(map(str.isalpha, value))
    return _whole(match, start, value) if len(value) >= 12 and mixed and " " not in value and not _is_no_value(value) else None


def _value(match: re.Match[str]) -> tuple[int, str, bool]:
    """Where the value begins, the value or the beginning of a long one, and whether it stands in quotes."""
    quote, start = match[1], match.end()
    if quote and (quoted := _QUOTED[quote].match(match.string, start)):
        value = quoted[1].lstrip()
        return quoted.end(1) - len(value), value.rstrip(), True
    unquoted = _UNQUOTED.match(match.string, start)
    return start, unquoted[0].rstrip(".:") if unquoted else "", False


def _whole(match: re.Match[str], start: int, value: str) -> Span:
    """To the end of a value of which only the beginning has been looked at."""
    more = _MORE.match(match.string, start + len(value)) if len(value) == _LOOKED_AT else None
    return start, more.end() if more else start + len(value)


def _is_no_value(value: str) -> bool:
    return value in _WORDS or bool(_TEMPLATE.match(value))
