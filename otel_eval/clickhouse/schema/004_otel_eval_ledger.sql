-- Decisions: one row is one decision about one trace. A later Revision of a trace takes the place of earlier ones:
-- FINAL, then ORDER BY Revision DESC LIMIT 1 BY TraceId.
CREATE TABLE IF NOT EXISTS {table:otel_eval_decisions}{on_cluster} (
    TraceId String CODEC(ZSTD(1)),
    Revision UInt32 CODEC(ZSTD(1)),
    DecidedAt DateTime64(9) CODEC(Delta(8), ZSTD(1)),
    Minute DateTime CODEC(Delta(4), ZSTD(1)),  -- in which otel_eval_traffic counts the trace
    Timestamp DateTime64(9) CODEC(Delta(8), ZSTD(1)),  -- start of the trace
    Duration UInt64 CODEC(ZSTD(1)),  -- nanoseconds
    ServiceName LowCardinality(String) CODEC(ZSTD(1)),
    ServiceVersion LowCardinality(String) CODEC(ZSTD(1)),
    Model LowCardinality(String) CODEC(ZSTD(1)),
    PromptVersion LowCardinality(String) CODEC(ZSTD(1)),
    Stratum LowCardinality(String) CODEC(ZSTD(1)),
    SignalClass LowCardinality(String) CODEC(ZSTD(1)),
    Policy LowCardinality(String) CODEC(ZSTD(1)),
    Trigger LowCardinality(String) CODEC(ZSTD(1)),
    Probability Float64 CODEC(ZSTD(1)),
    OwnProbability Float64 CODEC(ZSTD(1)),
    WantedProbability Float64 CODEC(ZSTD(1)),
    UpstreamProbability Nullable(Float64) CODEC(ZSTD(1)),
    R UInt64 CODEC(ZSTD(1)),
    RSource LowCardinality(String) CODEC(ZSTD(1)),
    Chosen Bool CODEC(ZSTD(1)),
    Rates Map(LowCardinality(String), Float64) CODEC(ZSTD(1)),
    Signals Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    Spans UInt64 CODEC(ZSTD(1)),
    Complete Bool CODEC(ZSTD(1)),
    Whole Bool CODEC(ZSTD(1)),
    Eligible Bool CODEC(ZSTD(1)),
    Capped Bool CODEC(ZSTD(1)),
    Unread Bool CODEC(ZSTD(1)),
    Pressure UInt8 CODEC(ZSTD(1)),
    Hop LowCardinality(String) CODEC(ZSTD(1))
) ENGINE = {engine:ReplacingMergeTree}
PARTITION BY toDate(Minute)
ORDER BY (TraceId, Revision)
{ttl_ledger:Minute}
SETTINGS ttl_only_drop_parts = 1, {deduplication};

{distributed:otel_eval_decisions cityHash64(TraceId)};

-- Traffic: one row is what one flush added to the counts of one cell of one minute, all traces, judged or not. Counts
-- are differences and may be negative: read with FINAL and sum over FlushedAt.
CREATE TABLE IF NOT EXISTS {table:otel_eval_traffic}{on_cluster} (
    Minute DateTime CODEC(Delta(4), ZSTD(1)),
    FlushedAt DateTime64(3) CODEC(Delta(8), ZSTD(1)),
    ServiceName LowCardinality(String) CODEC(ZSTD(1)),
    ServiceVersion LowCardinality(String) CODEC(ZSTD(1)),
    Stratum LowCardinality(String) CODEC(ZSTD(1)),
    SignalClass LowCardinality(String) CODEC(ZSTD(1)),
    Policy LowCardinality(String) CODEC(ZSTD(1)),
    Model LowCardinality(String) CODEC(ZSTD(1)),
    PromptVersion LowCardinality(String) CODEC(ZSTD(1)),
    Eligible Bool CODEC(ZSTD(1)),
    Traces Int64 CODEC(ZSTD(1)),
    Chosen Int64 CODEC(ZSTD(1)),
    Spans Int64 CODEC(ZSTD(1)),
    Errors Int64 CODEC(ZSTD(1)),
    InputTokens Int64 CODEC(ZSTD(1)),
    OutputTokens Int64 CODEC(ZSTD(1)),
    CostUsd Float64 CODEC(ZSTD(1)),
    Latency Map(UInt8, Int64) CODEC(ZSTD(1)),  -- bin b counts traces below 10^(b/10) milliseconds
    Hop LowCardinality(String) CODEC(ZSTD(1))
) ENGINE = {engine:ReplacingMergeTree}
PARTITION BY toDate(Minute)
ORDER BY (ServiceName, Minute, Eligible, ServiceVersion, Stratum, SignalClass, Policy, Model, PromptVersion, Hop, FlushedAt)
{ttl_ledger:Minute}
SETTINGS ttl_only_drop_parts = 1, {deduplication};

{distributed:otel_eval_traffic cityHash64(ServiceName, Minute)};

-- Outcomes: one row is what is known from outside of one goal, such as whether the task was done. Read with FINAL.
CREATE TABLE IF NOT EXISTS {table:otel_eval_outcomes}{on_cluster} (
    Id String CODEC(ZSTD(1)),
    Time DateTime64(9) CODEC(Delta(8), ZSTD(1)),
    GoalId String CODEC(ZSTD(1)),
    TraceId String CODEC(ZSTD(1)),
    Success Nullable(Bool) CODEC(ZSTD(1)),
    Score Nullable(Float64) CODEC(ZSTD(1)),
    Metadata Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    Hop LowCardinality(String) CODEC(ZSTD(1)),
    INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1
) ENGINE = {engine:ReplacingMergeTree}
PARTITION BY toDate(Time)
ORDER BY (Id)
{ttl_ledger:toDateTime(Time)}
SETTINGS ttl_only_drop_parts = 1, {deduplication};

{distributed:otel_eval_outcomes cityHash64(Id)};

-- Feedback whose trace no hop knows: one row is one piece of feedback about Target. Read with FINAL.
CREATE TABLE IF NOT EXISTS {table:otel_eval_unmatched_feedback}{on_cluster} (
    Id String CODEC(ZSTD(1)),
    Target String CODEC(ZSTD(1)),
    Label String CODEC(ZSTD(1)),
    Kind LowCardinality(String) CODEC(ZSTD(1)),
    Time DateTime64(9) CODEC(Delta(8), ZSTD(1)),
    Hop LowCardinality(String) CODEC(ZSTD(1))
) ENGINE = {engine:ReplacingMergeTree}
PARTITION BY toDate(Time)
ORDER BY (Id)
{ttl_ledger:toDateTime(Time)}
SETTINGS ttl_only_drop_parts = 1, {deduplication};

{distributed:otel_eval_unmatched_feedback cityHash64(Id)};
