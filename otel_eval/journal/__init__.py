r"""The journal: what a receiver accepted, on disk, until everybody who needs it has read it.

One append-only log for each kind of request (traces, logs, metrics), all under one directory and one disk budget.
A position is a byte offset in the log's whole history: it only grows and means the same after a restart.

Files
    journal/lock                          held by the one process that uses the directory
    journal/traces/00000000000000000000.log   a segment, named by the position of its first byte
    journal/cursors/otlp%2Fbackend.traces     how far that exporter has delivered
    journal/id                            16 random hex digits: positions of two journals are not the same thing

A segment is a sequence of records, each a header of 32 bytes (little-endian) and a body, which is the OTLP request
as it was accepted:

    magic "oJ" | version u8 | flags u8 | items u32 | body length u32 | accepted at, ns u64 | xxh3-64 of body u64
    | xxh32 of the 28 bytes before u32

The flag 1 marks a span that was held back and goes on (see `holding`); there are no others.

A cursor file is two slots of 544 bytes, written in turn: sequence u64, position u64, count u64 and ends u64 x 64 of the
batches on their way, xxh3-64 of all that. The valid slot with the higher sequence counts, so a torn write costs one step
back.

What it guarantees
- `append` returns after the bytes are with the operating system: `kill -9` loses nothing. What a power failure may
  take depends on `sync`: `always` (each acceptance waits for an fsync, shared by all that wait), `interval` (an fsync
  a second), `never`.
- A record that was cut short by a crash is removed at the start. A damaged record is reported, counted and
  skipped by its length; where the header itself is damaged, up to the next valid header; where a file is cut short
  or gone, up to the next file.
- Nothing is deleted before every reader has passed it. When the budget is used up, or the disk is full, `append`
  raises RetryableError and nothing is written; it works again as soon as there is room.
- Readers see each record at least once: a cursor moves after delivery.

Limits: one process; a body below 4 GiB. Whole segments are deleted, so up to one segment a log stays on disk after
everything has been read, until the budget needs its room. Behind a damaged header, what looks like a record in a body
that a sender chose is taken for one.

Why a log for each kind, and not one for all: an exporter whose backend takes traces but stalls on metrics must not
send its traces again after a restart, so it needs a cursor for each kind, and with separate logs no reader has to step
over what it does not want.
"""

from otel_eval.journal.journal import Journal as Journal
from otel_eval.journal.log import Holder as Holder
from otel_eval.journal.log import Log as Log
from otel_eval.journal.log import Reader as Reader
from otel_eval.journal.record import RELEASED as RELEASED
from otel_eval.journal.record import Record as Record
from otel_eval.journal.stored import stored_bodies as stored_bodies
