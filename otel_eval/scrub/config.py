"""What can be configured about scrubbing, with defaults. The text under a field is its documentation."""

import importlib.util
import typing
from typing import Annotated

from msgspec import Meta, field

from otel_eval.config.section import Section
from otel_eval.scrub.custom import Pattern
from otel_eval.scrub.rules import RuleName

CustomName = Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,39}$")]
KeyPattern = Annotated[str, Meta(min_length=1, max_length=200)]


class AttributeLists(Section, frozen=True):
    """Attributes that may not go, and the only ones that may, by key; `*` stands for any characters.

    They apply to the attributes of spans, their events and links, log records, scopes and resources, by whole key and
    with case. An empty `allow` lets everything go; what both lists name does not go.
    """

    allow: tuple[KeyPattern, ...] = ()
    deny: tuple[KeyPattern, ...] = ()


class ScrubConfig(Section, frozen=True):
    """What is taken out of a trace before it goes to a judge; `rules: []` switches the built-in rules off.

    `custom` maps the name of a rule of one's own to its pattern (see `custom`): `order: "ORD-[0-9]{6}"` gives `<ORDER_1>`.
    `presidio` also runs Microsoft Presidio, which knows more kinds of number; it is slow (see `presidio`). With `forwarded`
    all spans and log records are scrubbed before they are written to disk and passed on, `attributes` included.
    """

    rules: tuple[RuleName, ...] = typing.get_args(RuleName)
    custom: dict[CustomName, Pattern] = field(default_factory=dict)
    attributes: AttributeLists = field(default_factory=AttributeLists)
    presidio: bool = False
    forwarded: bool = False

    def __post_init__(self) -> None:
        if self.presidio and not importlib.util.find_spec("presidio_analyzer"):
            raise ValueError("presidio is not installed: pip install otel-eval[presidio]")
