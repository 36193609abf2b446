"""The tables in ClickHouse: numbered migrations beside this file, applied, printed and checked.

`otel_traces`, `otel_traces_trace_id_ts` with its view, and `otel_logs` are the Collector's, to the codec, so what reads or
writes those goes on working, and a Collector may write beside us; a table of its that is there already stays as it is,
but for its deduplication window, without which a retry doubles rows. Everything else begins with `otel_eval`, or is a
landing table or view beside them. Tables of a Replacing engine keep the latest row of a key when parts merge: read them
with FINAL, which `do_not_merge_across_partitions_select_final = 1` makes several times cheaper.

**Exactly once.** A batch is inserted with an `insert_deduplication_token` of its own. The landing table stores nothing and
remembers no token; its view hands the token on to `otel_traces`, whose window remembers it, and from there on to
`otel_traces_trace_id_ts` (`deduplicate_blocks_in_dependent_materialized_views` must be 1: before 26.2 it is not by
itself). The same token again stores nothing in the partitions that it has reached, whatever the rows are. A
server can die with the token noted and the rows lost: `clickhouse.completing` looks for them when a batch is sent again.

**Rights.** A writer needs INSERT on the tables that it inserts into and on `otel_traces_trace_id_ts`, and SELECT on
`otel_traces_in`, `otel_traces` and `otel_logs`: views run with the rights of who inserts (unless the server notes a DEFINER,
as some are set up to), and `completing` reads. A reader needs SELECT
on the database. The roll-up runs with the rights of who made it.

**Applying** is safe to repeat and for several hops at once: every statement does nothing when its object exists, and
what was done is noted in `otel_eval_schema`. A migration is pending when it is not noted there, or a table or view of its
is missing.

**Clusters.** Each table x is `x_local` on every node and x a Distributed table; spans and scores of a trace are on one
shard (`cityHash64(TraceId)`), which is where they are joined. The landing table is on every node, and its view writes into
the Distributed `otel_traces`. Inserts must set `distributed_foreground_insert` to 1: without it they are acknowledged
before a shard has the rows. The token reaches each shard, so a retry stores nothing there, through whichever node it
comes. Two shards without ON CLUSTER are what the tests run; ON CLUSTER and the Replicated engines need Keeper and are
checked as text only. Tables that a Collector made on a cluster (`otel_traces` itself on every node) are refused.

Limits: ClickHouse 24.10 or later, for the refreshable view; tried with 26.9. Spans with clocks far off are stored, but
DateTime and Date end in 2106 and 2149, so a filter on time may miss them and a TTL may take them. A TTL is that of the day
a table was made; `notes` says when the configured one differs, and ALTER TABLE MODIFY TTL changes it.
"""

from otel_eval.clickhouse.schema.applying import apply, statements
from otel_eval.clickhouse.schema.checking import check, notes
from otel_eval.clickhouse.schema.present import columns
from otel_eval.clickhouse.schema.target import Target

__all__ = ["Target", "apply", "check", "columns", "notes", "statements"]
