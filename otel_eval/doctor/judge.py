"""The judge: a key, its server, and the models that are asked. No question is asked."""

import time
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from otel_eval.config import Config
from otel_eval.doctor.clock import Clocks
from otel_eval.doctor.finding import Finding, ok, problem, warning
from otel_eval.doctor.reaching import headers
from otel_eval.evaluators.loading import evaluator_types
from otel_eval.evaluators.questioning import ModelSettings
from otel_eval.judging import configured
from otel_eval.judging.anthropic_client import AnthropicClient
from otel_eval.judging.config import Judging, Provider
from otel_eval.judging.llm import Failure, JudgeError
from otel_eval.judging.prices import PriceTable
from otel_eval.judging.running import client_of, with_key_of_the_environment

_REFUSED = frozenset({401, 403})


async def check(config: Config, source: str, clocks: Clocks, timeout_s: float) -> Sequence[Finding]:
    """Findings about the provider of judge models."""
    judging: Judging = config.judging
    if not judging.enabled or not config.sampling.enabled:
        return [ok("judge", "judging is off")]
    provider, prices = with_key_of_the_environment(judging.provider), PriceTable.load()
    client = client_of(provider, prices)
    has_key = provider.api_key is not None
    evaluators = configured.build(config, source, lambda _: client, has_key=has_key)
    asking = [one.name for one in evaluators if one.kind == "llm"]
    if not has_key:
        return [_without_key(provider, asking, by_default=judging.evaluators is None)]
    if not asking:
        return [ok("judge", "no evaluator asks a model")]
    host = urlsplit(provider.base_url or "").hostname or "the judge"
    asked_at = time.time()
    answer = await headers(provider.base_url or "", True, timeout_s / 3, by_proxy=True)
    if not answer:
        return [problem("judge", f"{host} gives no answer; correct judging.provider.base_url, or open the way to it")]
    clocks.note("the judge", answer, asked_at)
    wanted = sorted(set(models(judging)))
    unpriced = [model for model in wanted if prices.price(model) is None]
    found = [await _listed(provider, host, wanted, client, timeout_s / 2)]
    if unpriced:
        text = f"the price of {', '.join(unpriced)} is not known, so a budget in USD does not hold it; set calls_per_day"
        found.append(warning("judge", text))
    return found


def models(judging: Judging) -> Iterator[str]:
    """The models that the configured evaluators ask."""
    usual = ModelSettings().model
    entries: tuple[Any, ...] = judging.evaluators if judging.evaluators is not None else ({"rubric": configured.DEFAULT_RUBRIC},)
    for entry in entries:
        if isinstance(entry, str):
            if entry not in evaluator_types() and "/" not in entry:
                yield usual
        elif "rubric" in entry:
            yield entry.get("model", usual)
        elif "panel" in entry:
            yield from (one.get("model", usual) for one in entry["panel"]["judges"])


def _without_key(provider: Provider, asking: list[str], *, by_default: bool) -> Finding:
    variable = f"{provider.api.upper()}_API_KEY"
    if asking:
        return warning("judge", f"there is no API key, so these are blocked: {', '.join(asking)}; set {variable}")
    if by_default:
        return warning("judge", f"there is no API key: only evaluators by code are used; set {variable} for those by judge")
    return ok("judge", "there is no API key, and no evaluator asks a model")


async def _listed(provider: Provider, host: str, wanted: list[str], client: Any, timeout_s: float) -> Finding:
    """Whether the key is taken, and whether the account has the models."""
    try:
        known = await client.models() if isinstance(client, AnthropicClient) else await _openai_models(provider, timeout_s)
    except JudgeError as error:
        if error.failure is Failure.BLOCKED:
            return problem("judge", f"{host} refuses the key: {error}; set another one")
        return warning("judge", f"{host} answers, but does not list its models: {error}")
    finally:
        await client.aclose()
    if not known:
        return warning("judge", f"{host} answers, but lists no models")
    missing = [model for model in wanted if model not in known]
    if missing:
        return problem("judge", f"{host} takes the key, but has no {', '.join(missing)} for it; choose another model")
    return ok("judge", f"{host} takes the key and has {', '.join(wanted)}")


async def _openai_models(provider: Provider, timeout_s: float) -> list[str]:
    url = f"{(provider.base_url or '').rstrip('/')}/models"
    key = provider.api_key.reveal() if provider.api_key else ""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout_s), trust_env=True) as session,
            session.get(url, headers={"authorization": f"Bearer {key}"}, allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                failure = Failure.BLOCKED if answer.status in _REFUSED else Failure.SERVER_ERROR
                raise JudgeError(failure, f"HTTP {answer.status}")
            listed = await answer.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise JudgeError(Failure.SERVER_ERROR, f"the answer cannot be read: {type(error).__name__}") from None
    data = listed.get("data") if isinstance(listed, dict) else None
    return [str(one.get("id")) for one in data if isinstance(one, dict)] if isinstance(data, list) else []
