"""What each rule takes and what it leaves; `«»` stand around what is to be found."""

import re

import pytest

from otel_eval.scrub import find
from otel_eval.scrub.rules import RULES, RuleName

CASES: dict[RuleName, list[str]] = {
    "email": [
        "mail «jane.doe+tag@mail.example.co.uk», or <«o'brien@example.org»>",
        "«müller@börse.de» schrieb; 请联系«jane@x.com»谢谢",
        "GET /?email=«jane%40x.com»&x=1 mailto:«a_b@x.io».",
        "('«jane@x.com»',) \"«jane@x.com»\" «jane@x.com»'s",
        "a@b user@localhost icon@2x.png a@b.T lodash@4.17.21 @app.route git@github.com:o/r x = w@v.dot(u)",
        f"{'a' * 40}«{'b' * 64}@x.com»",
    ],
    "card": [
        "«4111111111111111» «4111 1111 1111 1111» «4111-1111-1111-1111» 4111 1111-1111 1111",
        "amex «378282246310005» «3782 822463 10005», diners «3056 930902 5904», «6011000990139424»",
        "05/2027 «4111 1111 1111 1111» 12 items, 2024 «4111 1111 1111 1111»",
        "4111111111111112 1700000000000 0.4111111111111111 4111111111111111.5 id-4-4111111111111111",
        "x4111111111111111 41111111111111111 «4222222222222» 号«4111111111111111»元",
    ],
    "iban": [
        "«DE89370400440532013000» «de89 3704 0044 0532 0130 00», «GB82-WEST-1234-5698-7654-32» «NO9386011117947»",
        "DE88370400440532013000 DE8937040044053201300 XX89370400440532013000",
        "ADE89370400440532013000 «MT84MALT011000012345MTLCAST001S»",
    ],
    "ip": [
        "«203.0.113.7» «10.0.0.1»:8080 http://«192.168.1.20»/x «198.51.100.4»/24 [«2001:db8::7»]:443 «fe80::1»%eth0.",
        "«2001:db8:0:0:0:0:0:1»:443, at «2a02:26f0::17». ::ffff:«203.0.113.9» «FD00::AB»",
        "127.0.0.1 ::1 0.0.0.0 255.255.255.255 1.2.3 1.2.3.4.5 300.1.1.1 v1.2.3.4 12:34:56 00:1a:2b:3c:4d:5e std::dec::hex",
        'Chrome/120.0.0.0 "version": "1.2.3.4" x==1.2.3.4 release 10.0.0.1 __version__ = "3.5.0.1" 01.02.03.04',
    ],
    "phone": [
        "«+44 20 7946 0958» «+44 (0)20 7946 0958», «+1-212-555-0142» «+12125550142» «+49.30.901820», «0049 170 1234567»",
        "«(212) 555-0142» «212-555-0142» «212.555.0142» «1-800-555-0142» «06 12 34 56 78» «020 7946 0958» «(030) 901820»",
        "«(11) 91234-5678» «612 34 56 78» «03-1234-5678» «8 (912) 345-67-89» 拨打«+86 138 0013 8000»,",
        'phone: «5552368» "phone_number": "«2125550142»" Tel. «0123456789» Handynummer «017612345678» «+1 212 555 0142» 12 items',
        "手机号«13812345678» 手机号:«13812345678» 我的手机号码是«13812345678»,谢谢。手機號碼為«0912345678»",
        '电话号码 «01012345678» {"手机号": "«13812345678»"} 電話番号は«0312345678»です 携帯番号: «09012345678»',
        "私の番号は«+81 90-1234-5678»です +12 345 678 901x",
        "手机号是多少 手机12个 手机 2024-05-12",
        "5551234567 2024-05-12 10:31:07 2024-05-12T10:31:07+02:00 05-12-2024 08:30 1.234.567,89 +12 345 678 1e+10 +0100",
        "112-5551234-5551234 978-3-16-148410-0 0.123456789 52.5200066, 13.404954 call 20240512 hotel: 1234567 phone 12-34",
        "x212-555-0142 212-555-01421 #212-555-0142 112-555-0142 212-155-0142 +1 112 555 0142 +0 12 345 6789",
    ],
    "national_id": [
        "«078-05-1120» SSN: «078 05 1120» social security «078051120»",
        "078051120 000-12-3456 666-12-3456 900-12-3456 078-00-1120",
        "«JG103759A» «AB 12 34 56 D» BG123456A AB123456E xAB123456C",
        "«12345678Z» «12345678-Z» «12.345.678-Z» 12345678A «X1234567L» «X-1234567-L» X1234567A",
        "«1 84 12 76 451 089 46» «184127645108946» 184127645108947",
        "«86 095 742 719» Steuer-ID «86095742719»",
        "86095742719 86 095 742 718 Steuer-ID 11111111111",
        "«RSSMRA85T10A562S» «rssmra85t10a562s» RSSMRA85T10A562T",
        "«529.982.247-25» CPF «52998224725»",
        "52998224725 529.982.247-24 111.111.111-11",
        "BSN «111222333» Burgerservicenummer: «111222333»",
        "111222333 BSN 111222334",
    ],
    "secrets": [
        "«sk-ant-api03-AbCdEfGh1234567890_-AbCdEfGh» «sk-proj-abcdefghij0123456789»",
        "密钥是«sk-proj-abcdefghij0123456789»。密钥«AKIAIOSFODNN7EXAMPLE»和令牌«hf_0123456789abcdefABCDEF01234567»",
        "task-management-system-overview sk-learn-some-thing-long",
        "«ghp_0123456789abcdefABCDEF0123456789abcd» «AKIAIOSFODNN7EXAMPLE» «xoxb-1234567890-abcdefghij»",
        "«AIzaSyA0123456789abcdefghijklmnopqrstuv»",
        "«eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N» eyJhbGciOiJIUzI1NiJ9",
        "Authorization: Bearer «mF_9.B5f-4.1JqMabc» bearer of bad news-and-more-words;",
        'Authorization: Token «9944b09199c62bcf» "Authorization": "ApiKey «VuaCf:ui2lp2axTN»" Authorization: «4f3c2b1a9d8e7f6a»',
        'Authorization: AWS4-HMAC-SHA256 Credential=x "authorization": {} Authorization: Digest realm="a1" Authorization: ${T}',
        "Basic «YWxhZGRpbjpvcGVuc2VzYW1l» basic understanding",
        "postgres://app:«s3cr3t»@db:5432/x https://host:443/p https://user@host/",
        "redis://:«p4ssw0rd»@db:6379/0 postgres://bob:«s3cret»@db http://:8080/@x see ://:@",
        "password=«hunter2» PASSWORD: «Tr0ub4dor&3» \"password\": \"«correct»\"",
        "'passwd': '«hunter»' Passwort ist «geheim1» senha: «abc123»",
        '密码:«abc12345» 密码是«hunter2» {"密碼": "«abc12345»"} パスワードは«abc12345» пароль: «qwerty1» 密码:必填 密码是多少',
        "password: required password = getpass() password=${DB_PASSWORD} \"password\": {\"type\"}",
        "PWD=/home/u1/app password: ******** password:\nx1y2z3",
        "api_key=«0123456789abcdef» X-Api-Key: «abcdefghijk1» OPENAI_API_KEY='«zzzzzzzzzzzzz9»'",
        "https://x.com/?api_key=«0123456789abcdef»&city=Paris access_token=«a1b2c3d4e5f6»&amp;x=1 password=«pa&s1»",
        "secret_access_key: «wJalrXUtnFEMI/K7MDENG/bPxRfiCY»",
        '"token": "Hello", "total_tokens": 1532 max_tokens=4096 token: str api_key=os.environ["API_KEY"]',
        '"token": "«a1b2c3d4e5f6»" secret sauce: yes',
        "x «-----BEGIN RSA PRIVATE KEY-----\\nMIIE\\nabc=\\n-----END RSA PRIVATE KEY-----» y",
        "«-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg",
        '{"a": "«-----BEGIN PRIVATE KEY-----\\\\nMIIE»", "b": "-----END PRIVATE KEY-----"}',
    ],
}  # fmt: skip
_SIGNS = re.compile("«([^»]*)»?")


@pytest.mark.parametrize(
    ("rule", "marked"),
    [(rule, marked) for rule, cases in CASES.items() for marked in cases],
    ids=[f"{rule}{number}" for rule, cases in CASES.items() for number in range(len(cases))],
)
def test_the_rule_finds_exactly_the_values(rule: RuleName, marked: str) -> None:
    text = marked.replace("«", "").replace("»", "")
    found = [text[start:end] for start, end, _ in find(text, [RULES[rule]])]
    assert found == _SIGNS.findall(marked)


def test_every_rule_has_cases() -> None:
    assert set(CASES) == set(RULES)


def test_of_two_rules_the_surer_one_has_the_value() -> None:
    text = "DE89370400440532013000 4111 1111 1111 1111 https://u:pass4111@x.com phone: 078-05-1120"
    found = [(text[start:end], kind) for start, end, kind in find(text, RULES.values())]
    assert found == [
        ("DE89370400440532013000", "IBAN"),
        ("4111 1111 1111 1111", "CARD"),
        ("pass4111", "SECRET"),
        ("078-05-1120", "NATIONAL_ID"),
    ]
