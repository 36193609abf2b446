"""The shop whose support the demo's agent is: its handbook, its orders, and the API that its tools call.

Nothing here knows whether an answer is good; figures are in the handbook or in an order, and nowhere else.
"""

from datetime import date, timedelta
from random import Random
from typing import Any, Final

from msgspec import Struct

SCHEMA_CHANGES_ON_DAY: Final = 3
"""From then on the API wants `order_number`, a whole number, where it took `order_id`."""

_FIRST_DAY: Final = date(2026, 3, 2)
_ITEMS: Final = (
    ("wireless headphones", 8490), ("trail running shoes", 11950), ("espresso grinder", 18900), ("rain jacket", 13990),
    ("bike light set", 4375), ("e-reader", 15999), ("camping stove", 6725), ("desk lamp", 5480),
)  # fmt: skip
_CARRIERS: Final = ("DHL", "UPS", "GLS")


class Page(Struct, frozen=True):
    """A page of the handbook, which is what retrieval finds."""

    id: str
    text: str


HANDBOOK: Final = {
    page.id: page
    for page in (
        Page("refunds", "Refunds: goods may be sent back within 30 days of delivery. The price of the goods is paid back to the "
             "original means of payment within 7 working days of their arrival; the shipping fee of 4.95 EUR is not."),
        Page("shipping", "Shipping: standard delivery takes 3 to 5 working days, express delivery 1 to 2. An order that is 12 "
             "working days late counts as lost and is sent again."),
        Page("addresses", "Addresses: the delivery address of an order can be changed with the tool change_address until the "
             "order has been handed to the carrier. Afterwards the carrier keeps the parcel for 14 days at a pick-up point."),
        Page("warranty", "Warranty: devices have a warranty of 24 months from the day of delivery. A repair takes 15 working "
             "days; sending the device in is free."),
        Page("batteries", "Batteries: for batteries and chargers the warranty is 11 months. Below 80 % of the capacity they "
             "count as defective."),
        Page("cancelling", "Cancelling: an order can be cancelled with the tool cancel_order until it has been handed to the "
             "carrier, for free. What was paid goes back within 4 working days."),
    )
}  # fmt: skip


class Order(Struct, frozen=True):
    """An order; `cents` is its value in EUR / 100."""

    number: int
    item: str
    cents: int
    carrier: str
    handed_over: date
    due: date

    @property
    def id(self) -> str:
        """How the old API and the customers write it."""
        return f"NL-{self.number}"

    @property
    def price(self) -> str:
        """Its value, as people write it."""
        return euros(self.cents)


def order(random: Random, day: int) -> Order:
    """An order that a customer asks about on that day of the story."""
    item, cents = random.choice(_ITEMS)
    handed_over = _FIRST_DAY + timedelta(days=day - 1 - random.randint(1, 4))
    due = handed_over + timedelta(days=random.randint(6, 9))
    return Order(random.randint(40_000, 69_999), item, cents, random.choice(_CARRIERS), handed_over, due)


def euros(cents: int) -> str:
    """An amount.

    >>> euros(8490)
    '84.90 EUR'
    """
    return f"{cents // 100}.{cents % 100:02} EUR"


def written(day: date) -> str:
    """A date, as the agent says it.

    >>> written(date(2026, 3, 9))
    '9 March 2026'
    """
    return f"{day.day} {day:%B %Y}"


def tools(day: int) -> list[dict[str, Any]]:
    """The tools that the agent offers its model, as the API describes itself on that day."""
    return [
        {"type": "function", "name": name, "description": says, "parameters": _parameters(day, more)}
        for name, says, more in (
            ("get_order", "Look up an order.", {}),
            ("cancel_order", "Cancel an order that has not been handed to the carrier.", {}),
            ("change_address", "Change the delivery address of an order.", {"address": {"type": "string"}}),
        )
    ]


def _parameters(day: int, more: dict[str, Any]) -> dict[str, Any]:
    key = {"order_number": {"type": "integer"}} if day >= SCHEMA_CHANGES_ON_DAY else {"order_id": {"type": "string"}}
    properties = {**key, **more}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def arguments(of: Order, *, new: bool, **more: str) -> dict[str, Any]:
    """What a model writes that goes by the new description, or by the old one."""
    return {**({"order_number": of.number} if new else {"order_id": of.id}), **more}


def call(day: int, name: str, given: dict[str, Any], of: Order) -> tuple[Any, str | None]:
    """What the API answers on that day: a result, or None and an error."""
    wanted = "order_number" if day >= SCHEMA_CHANGES_ON_DAY else "order_id"
    if wanted not in given:
        unknown = next(iter(given))
        return None, f"Unprocessable Entity: {wanted} is required; {unknown} is not a known field (API version 2)"
    found: dict[str, Any] = {"order": of.id, "item": of.item, "total": of.price}
    match name:
        case "cancel_order":
            return {**found, "cancelled": True, "paid_back": of.price}, None
        case "change_address":
            return {**found, "address": given["address"], "changed": True}, None
        case _:
            on_its_way = {"status": "shipped", "carrier": of.carrier, "handed_over": str(of.handed_over), "due": str(of.due)}
            return {**found, **on_its_way}, None
