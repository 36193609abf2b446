"""Scrubbing: personal data and credentials are taken out of what leaves for a judge or a score store.

`rules` find values in a text: a rule is a function from a text to findings, one file each. A `Scrubber`, made for each
trace, replaces them by typed placeholders (`<EMAIL_1>`, `<CARD_2>`): the same value has the same number within the trace,
in order of first occurrence, so a judge can follow who is who and the same input gives the same output. `request` does it
for an OTLP request, `reading` looks through the escapes of JSON, `custom` runs patterns of the user on RE2, `presidio`
is an optional extra. It is called for what goes onto the judge queue; forwarded requests stay as they came, unless
`forwarded` is set: see `forwarding`.

Guarantees
- Any text gives a result in time linear in its length: every repeat in a pattern is bounded or possessive, neighbours
  in a pattern cannot match the same characters, and a candidate that is refused costs a bounded number of steps.
- Scrubbing what has been scrubbed changes nothing. JSON stays JSON, also within JSON: a number behind a key gets quotes.
- Ids, times, numbers, order and unknown fields of a request stay; a request with nothing to hide is given back as it
  came. A value that was found is replaced in all of the request, also where no rule sees it (`Scrubber.known`).
- From value to placeholder leads only the Scrubber, which has no way to show its values and goes with the trace.

Limits
- Rules know forms. Names, addresses and what people tell about themselves have none and stay, as do values that are
  encoded (base64, images) or spelled out. For each type the tests measure on a labelled set how much is found and how
  much is found wrongly (`tests/scrub/test_scrub_labelled.py`).
- A card number that stands bare in a list of JSON gets no quotes, and that text is no JSON any more.
- Texts in fields that OTLP does not have yet are not seen.
- Without check digits there are false findings: a version number behind no word for versions is an IP address, a part
  number in the form of a phone number is one. They cost a judge a number, not an answer.
- A placeholder that is in the input already is left as it is, and may then stand for two values.
- The same person has other numbers in another trace.
"""

from otel_eval.scrub.config import AttributeLists as AttributeLists
from otel_eval.scrub.config import ScrubConfig as ScrubConfig
from otel_eval.scrub.forwarding import forwarding as forwarding
from otel_eval.scrub.request import scrub_request as scrub_request
from otel_eval.scrub.scrubber import PLACEHOLDER as PLACEHOLDER
from otel_eval.scrub.scrubber import Scrubber as Scrubber
from otel_eval.scrub.scrubber import find as find
