-- Scores: one row is one score of one span (its trace, its session) by one version of one evaluator. A score that is
-- made again replaces the earlier one when parts merge: read with FINAL. It stands for 1 / Probability traces; where
-- Policy is 'session' or 'asked', or Probability is 0, it stands for no traffic.
CREATE TABLE IF NOT EXISTS {table:otel_evaluations}{on_cluster} (
    SpanTimestamp DateTime64(9) CODEC(Delta(8), ZSTD(1)),  -- start of the span, which its row in otel_traces has too
    TraceId String CODEC(ZSTD(1)),
    SpanId String CODEC(ZSTD(1)),
    ServiceName LowCardinality(String) CODEC(ZSTD(1)),
    SpanName LowCardinality(String) CODEC(ZSTD(1)),
    Scope LowCardinality(String) CODEC(ZSTD(1)),  -- trace, span or session
    EvaluationName LowCardinality(String) CODEC(ZSTD(1)),
    EvaluatorName LowCardinality(String) CODEC(ZSTD(1)),
    EvaluatorKind LowCardinality(String) CODEC(ZSTD(1)),  -- code, llm or human
    EvaluatorVersion LowCardinality(String) CODEC(ZSTD(1)),
    Ordinal UInt16 CODEC(ZSTD(1)),  -- 0, 1 ... of several scores of one name for one span
    Score Nullable(Float64) CODEC(ZSTD(1)),
    Label LowCardinality(String) CODEC(ZSTD(1)),
    Passed Nullable(Bool) CODEC(ZSTD(1)),
    Explanation String CODEC(ZSTD(1)),
    Evidence Array(String) CODEC(ZSTD(1)),
    Warnings Array(String) CODEC(ZSTD(1)),
    Model LowCardinality(String) CODEC(ZSTD(1)),  -- of the judged trace, as otel_eval_traffic counts it
    ServiceVersion LowCardinality(String) CODEC(ZSTD(1)),
    PromptVersion LowCardinality(String) CODEC(ZSTD(1)),
    SessionId String CODEC(ZSTD(1)),
    Minute DateTime CODEC(Delta(4), ZSTD(1)),  -- in which otel_eval_traffic counts the trace
    Probability Float64 CODEC(ZSTD(1)),
    R UInt64 CODEC(ZSTD(1)),  -- the trace's random number of 56 bits
    Policy LowCardinality(String) CODEC(ZSTD(1)),
    Policies Array(LowCardinality(String)) CODEC(ZSTD(1)),
    Signals Array(LowCardinality(String)) CODEC(ZSTD(1)),
    SignalClass LowCardinality(String) CODEC(ZSTD(1)),
    Stratum LowCardinality(String) CODEC(ZSTD(1)),
    Revision UInt32 CODEC(ZSTD(1)),
    JudgeModel LowCardinality(String) CODEC(ZSTD(1)),
    JudgeResponseModel LowCardinality(String) CODEC(ZSTD(1)),
    Simulated Bool CODEC(ZSTD(1)),
    Cached Bool CODEC(ZSTD(1)),
    InputTokens Nullable(UInt64) CODEC(ZSTD(1)),
    OutputTokens Nullable(UInt64) CODEC(ZSTD(1)),
    CacheReadTokens Nullable(UInt64) CODEC(ZSTD(1)),
    CostUsd Nullable(Float64) CODEC(ZSTD(1)),
    PriceDate LowCardinality(String) CODEC(ZSTD(1)),
    LatencyS Nullable(Float64) CODEC(ZSTD(1)),
    JobId String CODEC(ZSTD(1)),
    Hop LowCardinality(String) CODEC(ZSTD(1)),
    ScoredAt DateTime64(9) CODEC(Delta(8), ZSTD(1)),
    INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX idx_minute Minute TYPE minmax GRANULARITY 1,
    INDEX idx_scored_at ScoredAt TYPE minmax GRANULARITY 1
) ENGINE = {engine:ReplacingMergeTree(ScoredAt)}
PARTITION BY toDate(SpanTimestamp)
ORDER BY (ServiceName, EvaluationName, toDateTime(SpanTimestamp), TraceId, SpanId, Scope, EvaluatorVersion, Ordinal)
{ttl_evaluations:toDateTime(SpanTimestamp)}
SETTINGS ttl_only_drop_parts = 1, {deduplication};

{distributed:otel_evaluations cityHash64(TraceId)};

-- How judging ended: one row is one job, that is one chosen trace and its terminal state. Read with FINAL.
CREATE TABLE IF NOT EXISTS {table:otel_eval_judgements}{on_cluster} (
    JobId String CODEC(ZSTD(1)),
    TraceId String CODEC(ZSTD(1)),
    Revision UInt32 CODEC(ZSTD(1)),
    Scope LowCardinality(String) CODEC(ZSTD(1)),
    State LowCardinality(String) CODEC(ZSTD(1)),
    Reason String CODEC(ZSTD(1)),
    Tries UInt32 CODEC(ZSTD(1)),
    ServiceName LowCardinality(String) CODEC(ZSTD(1)),
    ServiceVersion LowCardinality(String) CODEC(ZSTD(1)),
    Model LowCardinality(String) CODEC(ZSTD(1)),
    PromptVersion LowCardinality(String) CODEC(ZSTD(1)),
    Policy LowCardinality(String) CODEC(ZSTD(1)),
    Stratum LowCardinality(String) CODEC(ZSTD(1)),
    SignalClass LowCardinality(String) CODEC(ZSTD(1)),
    SessionId String CODEC(ZSTD(1)),
    Probability Float64 CODEC(ZSTD(1)),
    R UInt64 CODEC(ZSTD(1)),
    Minute DateTime CODEC(Delta(4), ZSTD(1)),
    `Results.Evaluator` Array(LowCardinality(String)) CODEC(ZSTD(1)),  -- what became of each evaluator
    `Results.State` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `Results.Reason` Array(String) CODEC(ZSTD(1)),
    Hop LowCardinality(String) CODEC(ZSTD(1)),
    JudgedAt DateTime64(9) CODEC(Delta(8), ZSTD(1)),
    INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX idx_minute Minute TYPE minmax GRANULARITY 1
) ENGINE = {engine:ReplacingMergeTree(JudgedAt)}
PARTITION BY toDate(JudgedAt)
ORDER BY (JobId)
{ttl_evaluations:toDateTime(JudgedAt)}
SETTINGS ttl_only_drop_parts = 1, {deduplication};

{distributed:otel_eval_judgements cityHash64(JobId)};
