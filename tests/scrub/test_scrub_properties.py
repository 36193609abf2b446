"""What holds for any text and any request."""

import itertools
import json
import random
import string
from typing import Any

from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_eval.errors import PermanentError
from otel_eval.records import Kind
from otel_eval.scrub import PLACEHOLDER, Scrubber, ScrubConfig, find, scrub_request
from otel_eval.scrub.reading import read
from otel_eval.scrub.rules import RULES, national_id
from otel_eval.scrub.rules.finding import Rule, scan, shape
from otel_eval.scrub.scrubber import APART
from otel_eval.wire import lens
from tests import oracle, strategies
from tests.scrub import values
from tests.scrub.labelled import examples
from tests.scrub.negatives import KINDS, negative

CONFIG = ScrubConfig()
MAKERS = (
    *(values.email, values.phone, values.card, values.iban, values.ip),
    *(values.national_id, values.secret, values.password, values.opaque),
)
GLUE = (
    *(
        "",
        " ",
        "\n",
        ", ",
        ": ",
        '"',
        "'",
        "\\n",
        '\\"',
        "\\u00e9",
        "<",
        ">",
        "(",
        "=",
        "/",
        "-",
        "+",
        ".",
        "@",
        "x",
        "7",
        "é",
        "请",
    ),
    *("\udcff", "\0", "password=", "tel: ", "api_key: ", "<EMAIL_1>", "BSN ", "-----BEGIN PRIVATE KEY-----", "bearer ", "://a:"),
)
KIND = st.sampled_from([Kind.TRACES, Kind.LOGS])
MANY = settings(strategies.PROPERTY, max_examples=400)
IDS = {"trace_state", "version", "schema_url"}


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Values, look-alikes, pieces of them, and what may stand between, in any order; or anything at all."""
    if draw(st.integers(0, 3)) == 0:
        return draw(st.text(max_size=60) | st.text(alphabet=string.digits + " -.+()/:@ABXsk_<>\\\"'eyJ=", max_size=60))
    return mixture(random.Random(draw(st.integers(0, 1 << 32))))


def mixture(source: random.Random) -> str:
    pieces = []
    for _ in range(source.randrange(1, 7)):
        piece = source.choice(MAKERS)(source) if source.random() < 0.7 else negative(source, source.choice(KINDS))
        if source.random() < 0.2:
            piece = piece[source.randrange(len(piece)) :]
        pieces += [source.choice(GLUE) if source.random() < 0.6 else " ", piece]
    return "".join(pieces)


@MANY
@given(texts())
def test_scrubbing_twice_changes_nothing_more(text: str) -> None:
    once = Scrubber(CONFIG).text(text)
    assert Scrubber(CONFIG).text(once) == once


@MANY
@given(texts())
def test_every_rule_gives_spans_of_any_text(text: str) -> None:
    for rule in RULES.values():
        for start, end, kind in rule(text):
            assert 0 <= start < end <= len(text)
            assert PLACEHOLDER.fullmatch(f"<{kind}_1>")
    found = find(text, RULES.values())
    assert all(one.end <= other.start for one, other in itertools.pairwise(found))


@MANY
@given(texts(), st.lists(texts(), max_size=2), st.integers(0, 2), st.booleans(), st.integers(0, 1 << 32))
def test_json_stays_json_of_the_same_shape(text: str, more: list[str], levels: int, ascii_only: bool, seed: int) -> None:
    number = int("".join(filter(str.isdecimal, values.card(random.Random(seed)))))
    document: Any = {"a": text.replace("\udcff", ""), "n": number, "list": [*(one.replace("\udcff", "") for one in more), 7]}
    for _ in range(levels):
        document = {"inner": json.dumps(document, ensure_ascii=ascii_only), "n": number}
    scrubbed = json.loads(Scrubber(CONFIG).text(json.dumps(document, ensure_ascii=ascii_only)))
    for _ in range(levels):
        assert scrubbed["n"] != number
        scrubbed = json.loads(scrubbed["inner"])
    assert set(scrubbed) == {"a", "n", "list"}
    assert len(scrubbed["list"]) == len(more) + 1
    assert scrubbed["n"] != number


@MANY
@given(st.integers(0, 1 << 32))
def test_no_value_that_was_found_remains_anywhere_in_a_request(seed: int) -> None:
    source = random.Random(seed)
    request = lens.REQUESTS[Kind.TRACES]()
    span: Any = request.resource_spans.add().scope_spans.add().spans.add()  # type: ignore[attr-defined]
    hidden = set()
    for text, labels in examples(seed, 6, lookalikes=True):
        span.attributes.add(key="text").value.string_value = text
        span.attributes.add(key="list").value.array_value.values.add().bytes_value = source.choice([text, "", "x"]).encode()
        found = find(text, RULES.values())
        hidden |= {text[label.start : label.end] for label in labels if label in found}
    body = scrub_request(Kind.TRACES, request.SerializeToString(), Scrubber(CONFIG))
    for value in hidden:
        assert value.encode() not in body, value


def with_texts(message: Any, source: random.Random) -> None:
    """Put mixtures into the texts of a message."""
    for field, value in message.ListFields():
        if field.name not in IDS and field.type in (field.TYPE_STRING, field.TYPE_BYTES) and not field.name.endswith("_id"):
            if not field.is_repeated and source.random() < 0.5:
                text = mixture(source).replace("\udcff", "")
                setattr(message, field.name, text if field.type == field.TYPE_STRING else text.encode())
        elif isinstance(value, Message):
            with_texts(value, source)
        elif field.message_type is not None:
            for item in value:
                with_texts(item, source)


def skeleton(message: Any) -> Any:
    """The message with every text that may be scrubbed emptied; unknown fields stay."""
    for field, value in message.ListFields():
        if isinstance(value, Message):
            skeleton(value)
        elif field.message_type is not None:
            for item in value:
                skeleton(item)
        elif isinstance(value, str) and field.name not in IDS:
            setattr(message, field.name, "x")
        elif field.name == "bytes_value":
            message.bytes_value = b"x"
    return message


@settings(strategies.PROPERTY, max_examples=100)
@given(KIND, st.data(), st.integers(0, 1 << 32))
def test_everything_but_texts_stays_as_it_was(kind: Kind, data: st.DataObject, seed: int) -> None:
    request = data.draw(strategies.requests(kind))
    with_texts(request, random.Random(seed))
    body = request.SerializeToString()
    scrubbed = scrub_request(kind, body, Scrubber(CONFIG))
    cls = lens.REQUESTS[kind]
    before, after = (skeleton(cls.FromString(one)).SerializeToString(deterministic=True) for one in (body, scrubbed))
    assert after == before
    assert scrub_request(kind, scrubbed, Scrubber(CONFIG)) == scrubbed
    assert scrub_request(kind, body, Scrubber(CONFIG)) == scrubbed


@settings(strategies.PROPERTY, max_examples=80)
@given(KIND, st.data())
def test_any_bytes_give_a_request_or_a_permanent_error(kind: Kind, data: st.DataObject) -> None:
    body = data.draw(strategies.bodies(kind) | st.binary(max_size=60))
    try:
        scrubbed = scrub_request(kind, body, Scrubber(CONFIG))
    except PermanentError:
        assert not oracle.parses(lens.REQUESTS[kind], body, utf8=False)
    else:
        assert lens.count_items(kind, scrubbed) == lens.count_items(kind, body)
        assert scrub_request(kind, scrubbed, Scrubber(CONFIG)) == scrubbed


@MANY
@given(st.lists(texts(), max_size=6))
def test_texts_at_once_come_out_as_one_after_the_other(given: list[str]) -> None:
    """What stands in one text neither hides a value in the next one nor makes one there."""
    together, alone = Scrubber(CONFIG), Scrubber(CONFIG)
    assert list(together.texts(given)) == [alone.text(text) for text in given]
    assert together.counts == alone.counts


@MANY
@given(st.sampled_from(list(RULES.values())), texts(), st.lists(texts(), max_size=3), st.lists(texts(), max_size=3))
def test_a_rule_sees_a_value_between_other_texts_too(rule: Rule, text: str, before: list[str], behind: list[str]) -> None:
    said = [read(one).text for one in (*before, text, *behind)]
    assert any(rule(APART.join(said))) or not any(rule(said[len(before)]))


@MANY
@given(
    st.text("0123456789 .-/ABZé", max_size=60) | st.integers(0, 1 << 32).map(lambda seed: values.national_id(random.Random(seed)))
)
def test_a_national_id_is_seen_in_the_shape_of_a_text(text: str) -> None:
    for pattern, form in ((national_id._DIGITS, national_id._DIGITS_SHAPE), (national_id._BUT_NINE, national_id._BUT_NINE_SHAPE)):
        assert form.search(shape(text)) or not list(scan(pattern, text, "NATIONAL_ID", national_id._any_form))
