"""What customers ask, and what the agent can say to it: well, wrongly, or without having got anywhere.

A wrong answer is wrong in one of these ways: its figure stands nowhere (`invented`), the figure is that of another page
(`mixed_up`), or it reports something done that was not (`claimed`).
"""

from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from random import Random
from typing import Final

from msgspec import Struct

from otel_eval.demo.shop import Order, euros, written


class Flaw(StrEnum):
    """What is wrong with an answer."""

    INVENTED = "invented"
    MIXED_UP = "mixed_up"
    CLAIMED = "claimed"
    STUCK = "stuck"


Say = Callable[[Order, Random], str]


class Intent(Struct, frozen=True):
    """A kind of question: how it is asked, the pages that are found for it, the tool that it takes, and the answers.

    `wrong` has the flaws that an answer may have by itself; a tool that failed brings `stuck`.
    """

    name: str
    asked: tuple[str, ...]
    pages: tuple[str, ...]
    good: tuple[Say, ...]
    wrong: dict[Flaw, Say]
    tool: str | None = None


_ADDRESSES: Final = ("Lindenweg 4, Kiel", "Hafenstrasse 18, Bremen", "Am Markt 7, Jena", "Rosengasse 22, Ulm")


def address(random: Random) -> str:
    """Where a customer has moved to."""
    return random.choice(_ADDRESSES)


def _late(order: Order, random: Random) -> str:
    return written(order.due + timedelta(days=random.randint(2, 9)))


ORDER_STATUS = Intent(
    "order_status",
    ("Where is my order {id}?", "Hi, has my {item} been shipped yet? Order {id}.", "When will order {id} arrive?"),
    ("shipping",),
    (
        lambda order, random: (
            f"Your {order.item} (order {order.id}) left with {order.carrier} on {written(order.handed_over)} "
            f"and should be with you by {written(order.due)}."
        ),
        lambda order, random: f"It is on its way with {order.carrier}: order {order.id} is due on {written(order.due)}.",
    ),
    {
        Flaw.INVENTED: lambda order, random: (
            f"Good news, your {order.item} is on its way with {order.carrier} and will be with "
            f"you by {_late(order, random)} at the latest."
        )
    },
    "get_order",
)
REFUND = Intent(
    "refund",
    (
        "I want to send back my {item}, order {id}. How much do I get back, and when?",
        "How does a refund work for order {id}?",
        "The {item} does not fit. What will you refund for order {id}?",
    ),
    ("refunds", "shipping"),
    (
        lambda order, random: (
            f"You can send your {order.item} back within 30 days of delivery. We then pay {order.price} back "
            "within 7 working days of its arrival; the shipping fee of 4.95 EUR stays with us."
        ),
        lambda order, random: (
            f"For order {order.id} you get {order.price} back, to your original means of payment, within "
            "7 working days after it has arrived here."
        ),
    ),
    {
        Flaw.INVENTED: lambda order, random: (
            f"No problem. We refund {euros(order.cents + random.randint(3, 30) * 50)} for your "
            f"{order.item}, and the money is with you within {random.choice((48, 72))} hours."
        ),
        Flaw.MIXED_UP: lambda order, random: f"You get {order.price} back for your {order.item}. You have 14 days to send it in.",
    },
    "get_order",
)
CHANGE_ADDRESS = Intent(
    "change_address",
    ("I have moved. Please send order {id} to {address}.", "Wrong address on order {id}! It should go to {address}."),
    ("addresses", "shipping"),
    (
        lambda order, random: (
            f"Done: order {order.id} now goes to your new address. Should it have left already, the carrier "
            "keeps it for 14 days at a pick-up point."
        ),
        lambda order, random: f"I have changed the delivery address of order {order.id}.",
    ),
    {
        Flaw.CLAIMED: lambda order, random: f"I have changed the delivery address of order {order.id}. Is there anything else?",
        Flaw.INVENTED: lambda order, random: (
            f"I have changed the address of order {order.id}. You can change it again within {random.choice((36, 48))} hours."
        ),
    },
    "change_address",
)
WARRANTY = Intent(
    "warranty",
    (
        "My {item} stopped working. Is it still under warranty?",
        "How long is the warranty on the {item}, and what does a repair take?",
    ),
    ("warranty", "batteries"),
    (
        lambda order, random: (
            f"Your {order.item} has a warranty of 24 months from delivery. Sending it in is free, and a "
            "repair takes 15 working days."
        ),
        lambda order, random: "Yes: devices are covered for 24 months from the day of delivery.",
    ),
    {
        Flaw.INVENTED: lambda order, random: (
            f"Your {order.item} has a warranty of {random.choice((36, 60))} months, and we repair "
            f"it within {random.choice((17, 19, 21))} working days."
        ),
        Flaw.MIXED_UP: lambda order, random: f"For your {order.item} the warranty is 11 months from delivery.",
    },
)
CANCEL = Intent(
    "cancel",
    ("Please cancel order {id}.", "I ordered the {item} twice, cancel {id} please."),
    ("cancelling", "refunds"),
    (
        lambda order, random: f"Order {order.id} is cancelled. The {order.price} go back to you within 4 working days.",
        lambda order, random: f"I have cancelled order {order.id} for you, free of charge.",
    ),
    {
        Flaw.CLAIMED: lambda order, random: f"I have cancelled order {order.id} for you.",
        Flaw.INVENTED: lambda order, random: (
            f"Order {order.id} is cancelled. {euros(order.cents - random.choice((500, 990)))} go "
            "back to you, after the cancellation fee."
        ),
    },
    "cancel_order",
)
INTENTS: Final = (ORDER_STATUS, REFUND, CHANGE_ADDRESS, WARRANTY, CANCEL)
WEIGHTS: Final = (34, 24, 14, 16, 12)

STUCK: Final = (
    "I am sorry, I cannot reach our order system at the moment. Please try again later.",
    "It seems that I cannot look up this order. I think it is probably fine, maybe wait a few more days.",
)
"""What the agent says when its tool has failed, and it leaves it at that."""

REPHRASED: Final = "No, that is not what I asked. {asked}"
COMPLAINTS: Final = ("that is wrong", "not what your website says", "did not help", "the amount is wrong")
