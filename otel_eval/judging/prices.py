"""What a judge's call costs: before it is made (at most) and after it (exactly, as far as the price is known).

The prices are data, `prices.yaml`, each with the day from which it is in effect and its source. A model that is not in
there has no cost, not an estimated one: None is passed on to whoever shows it. The same holds for what is priced by
other rules: priority tiers, fast inference, a region with a surcharge that the table does not name.
"""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

import msgspec
from msgspec import Meta

from otel_eval.config import document
from otel_eval.config.document import Document
from otel_eval.config.load import convert
from otel_eval.config.section import Section
from otel_eval.errors import ConfigError
from otel_eval.judging.llm import Ask

_FILE = Path(__file__).with_name("prices.yaml")
_PER_MILLION = 1e-6
_SUFFIX = re.compile(r"([-@][0-9]{8})?(-simulated)?$")

Usd = Annotated[float, Meta(ge=0)]


class Rates(Section, frozen=True, kw_only=True):
    """USD per million tokens; None is not known."""

    input: Usd
    output: Usd
    cache_write_5m: Usd | None = None
    cache_write_1h: Usd | None = None
    cache_read: Usd | None = None


class LongPrompt(Rates, frozen=True, kw_only=True):
    """The rates of the whole request when its prompt, cached or not, has more than `above_tokens`."""

    above_tokens: Annotated[int, Meta(ge=1)]


class Price(Rates, frozen=True, kw_only=True):
    """One model's price from one day on; `prices.yaml` says what the fields mean."""

    effective_from: date
    source: str
    batch: Annotated[float, Meta(gt=0, le=1)] | None = None
    us_only: Annotated[float, Meta(ge=1)] | None = None
    cache_floor: Annotated[int, Meta(ge=0)] | None = None
    long_prompt: LongPrompt | None = None
    note: str = ""

    def rates(self, prompt_tokens: int) -> Rates:
        """The rates for a prompt of that length."""
        long = self.long_prompt
        return long if long and prompt_tokens > long.above_tokens else self


class Prices(Section, frozen=True, kw_only=True):
    """The content of a price file."""

    models: dict[str, tuple[Price, ...]]


class Tokens(NamedTuple):
    """What a call took: the whole prompt is `input`, `cache_read` and both writes together."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0

    @property
    def prompt(self) -> int:
        """All tokens of the prompt."""
        return self.input + self.cache_read + self.cache_write_5m + self.cache_write_1h


class Cost(NamedTuple):
    """`usd` is None when it is not known; `price_date` is the `effective_from` of the price."""

    usd: float | None
    price_date: str | None = None


class PriceTable:
    """Prices by model id; an id with the date of its snapshot behind it, or with `-simulated`, has the price of the model.

    >>> table = PriceTable.load()
    >>> table.cost("claude-haiku-4-5-20251001", Tokens(input=7_500, output=350))
    Cost(usd=0.00925, price_date='2025-10-15')
    >>> table.cost("some-other-model", Tokens(input=7_500, output=350))
    Cost(usd=None, price_date=None)
    """

    def __init__(self, models: Mapping[str, tuple[Price, ...]]) -> None:
        self._models = models

    @classmethod
    def load(cls, override: Path | Mapping[str, Any] | None = None) -> Self:
        """The price file, with the models that a file or mapping of the same form names replaced; raises ConfigError."""
        models = _read(_FILE)
        if isinstance(override, Path):
            models |= _read(override)
        elif override is not None:
            models |= _models(Document("prices", dict(override)))
        return cls(models)

    def price(self, model: str, on: date | None = None) -> Price | None:
        """The price in effect on a day, today by default."""
        day = on or datetime.now(UTC).date()
        known = self._models.get(model) or self._models.get(_SUFFIX.sub("", model)) or ()
        return max((price for price in known if price.effective_from <= day), key=lambda p: p.effective_from, default=None)

    def cost(self, model: str, tokens: Tokens, *, batch: bool = False, us_only: bool = False) -> Cost:
        """What a call has cost."""
        price = self.price(model)
        if price is None:
            return Cost(None)
        rates = price.rates(tokens.prompt)
        parts = (
            (tokens.input, rates.input),
            (tokens.output, rates.output),
            (tokens.cache_read, rates.cache_read),
            (tokens.cache_write_5m, rates.cache_write_5m),
            (tokens.cache_write_1h, rates.cache_write_1h),
        )
        factors = [price.batch] * batch + [price.us_only] * us_only
        if any(count and rate is None for count, rate in parts) or None in factors:
            return Cost(None)
        usd = sum(count * (rate or 0.0) for count, rate in parts) * _PER_MILLION
        for factor in factors:
            usd *= factor or 0.0
        return Cost(usd, price.effective_from.isoformat())

    def worst_case(self, ask: Ask, input_tokens: int, *, batch: bool = False) -> float | None:
        """The most that a call can cost in USD if its prompt has so many tokens: nothing is read from a cache, all that may
        be cached is written (in a batch for an hour), the answer has its full length, and inference has the surcharge of a
        region. A model without a price for batches counts as if it were asked directly.
        """
        price = self.price(ask.model)
        if price is None:
            return None
        rates = price.rates(input_tokens)
        for_material = rates.cache_write_1h if batch else rates.cache_write_5m
        writes = [rates.cache_write_1h] * ask.cache_instructions + [for_material] * ask.cache_material
        dearest = max([rates.input, *(rate for rate in writes if rate is not None)])
        usd = (input_tokens * dearest + ask.max_tokens * rates.output) * _PER_MILLION
        return usd * (price.us_only or 1.0) * ((price.batch or 1.0) if batch else 1.0)


class InputEstimate:
    """How many tokens a prompt will have, without asking the API.

    3.3 bytes of UTF-8 make a token, for plain English text that is 3.3 characters; what a model's answers really took
    corrects this, model by model, as a moving average over about the last twenty answers.
    """

    _BYTES_PER_TOKEN = 3.3
    _WEIGHT = 0.05
    _SHORTEST = 200

    def __init__(self) -> None:
        self._ratios: dict[str, float] = {}

    def tokens(self, ask: Ask) -> int:
        """The estimate for the whole prompt."""
        return round(self._plain(ask) * self._ratios.get(ask.model, 1.0)) + 1

    def learn(self, ask: Ask, prompt_tokens: int) -> None:
        """Correct the estimate by what the prompt really had; short prompts, mostly overhead, teach nothing."""
        plain = self._plain(ask)
        if plain >= self._SHORTEST and prompt_tokens > 0:
            known = self._ratios.get(ask.model, 1.0)
            self._ratios[ask.model] = known + self._WEIGHT * (prompt_tokens / plain - known)

    def _plain(self, ask: Ask) -> float:
        texts = (ask.instructions, ask.material, ask.question)
        size = sum(len(text) if text.isascii() else len(text.encode(errors="replace")) for text in texts)
        return (size + len(msgspec.json.encode(ask.schema))) / self._BYTES_PER_TOKEN


def _read(file: Path) -> dict[str, tuple[Price, ...]]:
    try:
        return _models(document.parse(file.read_text(encoding="utf-8"), str(file)))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"{file}: cannot be read: {reason}") from None


def _models(doc: Document) -> dict[str, tuple[Price, ...]]:
    if not isinstance(doc.value, dict):
        raise ConfigError(f"{doc.name}: expected a mapping with the key models")
    prices: Prices = convert(doc, Prices, doc.value, ())
    return prices.models
