"""Spans that are held back until their scores are there (`emit.mode: hold`), each sent on once.

What is held is the local root of a chosen trace: its bytes are cut out of the request that brought it and appended to the
journal's log `held`, and only the rest of the request to `traces`. It goes on (is *released*) when its trace has been judged,
`hold_timeout` after it came, or at a clean stop: as a traces record of its own whose header has the flag RELEASED, with the
scores behind its bytes, if there are any. From then on it is a span like any other, and exporters do not know the difference.

The log `held` has two kinds of records (`records`), both MessagePack:
    Cut         a trace whose root a request brought: what was decided, and the spans that were cut out
    Released    roots that have gone on, with a checksum of how

In its trace the held bytes stand for the span for as long as the trace is remembered, before and after it has gone on
(`groups`): what a trace was judged by is what its agent has sent, and scores never judge themselves. A record with the flag
is not observed, and not read back.

Crashes (`kill -9`)
- Each Cut is appended before the rest of the request. A crash in between: the sender has no answer and sends again; then
  the root is known by its id and left out, and the rest goes on.
- The traces record is the release: there is one append, so it has happened or not, and nothing else decides about it.
  Before it nothing was sent; after it these bytes are the only ones that ever are.
- Released is appended later, so that a start need not look through the whole log `traces` for flags. It says up to where
  all releases are marked; a start reads the few records behind that and finds those that were not. Until a release is
  marked, its record is not deleted.
- Whether scores have gone on with their root is found out by making the same bytes again and comparing checksums. So a
  judgement that is published once more after a crash leaves out the same evaluation spans as before.

Limits
- A root that comes again within the late window is left out: its id has been sent, or will be. Later it goes on.
- What is kept takes a sixteenth of the disk budget. Beyond it, when three quarters of the budget are used, or when
  MAX_WAITING traces wait, roots go on at once; so does a second local root of a trace beyond MAX_ROOTS.
- While the journal is so full that nothing can be appended, what is released waits for room.
- With `sync: interval` a power failure may take a release that a backend has; then the root is sent again, perhaps
  with other scores.
"""

from otel_eval.holding.records import Cut as Cut
from otel_eval.holding.records import First as First
from otel_eval.holding.spans import HeldSpans as HeldSpans
