-- Scores added up: one row is one hour of one slice (of a cluster: on one shard, so sum them). w is the weight
-- 1 / Probability, 0 where that is unknown. Later rows replace earlier ones: read with FINAL. Rows whose Policy is
-- 'session' or 'asked' stand for no traffic.
CREATE TABLE IF NOT EXISTS {table:otel_eval_scores_hourly}{on_cluster} (
    Hour DateTime CODEC(Delta(4), ZSTD(1)),  -- of Minute, as otel_eval_traffic counts
    ServiceName LowCardinality(String) CODEC(ZSTD(1)),
    ServiceVersion LowCardinality(String) CODEC(ZSTD(1)),
    Model LowCardinality(String) CODEC(ZSTD(1)),
    PromptVersion LowCardinality(String) CODEC(ZSTD(1)),
    EvaluationName LowCardinality(String) CODEC(ZSTD(1)),
    EvaluatorVersion LowCardinality(String) CODEC(ZSTD(1)),
    Policy LowCardinality(String) CODEC(ZSTD(1)),
    Stratum LowCardinality(String) CODEC(ZSTD(1)),
    SignalClass LowCardinality(String) CODEC(ZSTD(1)),
    Scores UInt64 CODEC(ZSTD(1)),  -- how many have a Score y; of them:
    Weight Float64 CODEC(ZSTD(1)),  -- sum of w
    Weight2 Float64 CODEC(ZSTD(1)),  -- of w^2
    Score Float64 CODEC(ZSTD(1)),  -- of y
    Score2 Float64 CODEC(ZSTD(1)),  -- of y^2
    WeightScore Float64 CODEC(ZSTD(1)),  -- of w y
    WeightScore2 Float64 CODEC(ZSTD(1)),  -- of w y^2
    Weight2Score Float64 CODEC(ZSTD(1)),  -- of w^2 y
    Weight2Score2 Float64 CODEC(ZSTD(1)),  -- of w^2 y^2
    Verdicts UInt64 CODEC(ZSTD(1)),  -- how many have passed or failed; of them:
    VerdictWeight Float64 CODEC(ZSTD(1)),  -- sum of w
    VerdictWeight2 Float64 CODEC(ZSTD(1)),  -- of w^2
    Passed UInt64 CODEC(ZSTD(1)),  -- how many have passed
    WeightPassed Float64 CODEC(ZSTD(1)),  -- sum of w over these
    Weight2Passed Float64 CODEC(ZSTD(1)),  -- of w^2 over these
    RefreshedAt DateTime64(3) CODEC(Delta(8), ZSTD(1))
) ENGINE = {engine:ReplacingMergeTree(RefreshedAt)}
PARTITION BY toYYYYMM(Hour)
ORDER BY (
    ServiceName, EvaluationName, Hour, EvaluatorVersion, Policy, Stratum, SignalClass, ServiceVersion, Model, PromptVersion
);

{distributed:otel_eval_scores_hourly cityHash64(ServiceName, Hour)};

-- Fills it: the hours that got a score within the last three days are added up anew. The rows that are there already
-- take part with zeros, so a slice whose last score has moved elsewhere ends at zero. Later scores of older hours need
-- one refresh by hand; the hours that no longer have scores (TTL) stay as they were.
CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.otel_eval_scores_hourly_mv{on_cluster}
REFRESH EVERY 10 MINUTE APPEND TO {table:otel_eval_scores_hourly}
AS WITH Touched AS (
    SELECT DISTINCT toStartOfHour(Minute) AS Hour FROM {table:otel_evaluations} WHERE ScoredAt > now() - INTERVAL 3 DAY
)
SELECT
    Hour, ServiceName, ServiceVersion, Model, PromptVersion, EvaluationName, EvaluatorVersion, Policy, Stratum, SignalClass,
    countIf(has_score) AS Scores,
    sumIf(w, has_score) AS Weight,
    sumIf(w * w, has_score) AS Weight2,
    sumIf(y, has_score) AS Score,
    sumIf(y * y, has_score) AS Score2,
    sumIf(w * y, has_score) AS WeightScore,
    sumIf(w * y * y, has_score) AS WeightScore2,
    sumIf(w * w * y, has_score) AS Weight2Score,
    sumIf(w * w * y * y, has_score) AS Weight2Score2,
    countIf(has_verdict) AS Verdicts,
    sumIf(w, has_verdict) AS VerdictWeight,
    sumIf(w * w, has_verdict) AS VerdictWeight2,
    countIf(passed) AS Passed,
    sumIf(w, passed) AS WeightPassed,
    sumIf(w * w, passed) AS Weight2Passed,
    now64(3) AS RefreshedAt
FROM (
    SELECT
        toStartOfHour(Minute) AS Hour, ServiceName, ServiceVersion, Model, PromptVersion,
        EvaluationName, EvaluatorVersion, Policy, Stratum, SignalClass,
        if(Probability > 0, 1 / Probability, 0) AS w, ifNull(isFinite(Score), false) AS has_score, ifNull(Score, 0) AS y,
        isNotNull(Passed) AS has_verdict, ifNull(Passed, false) AS passed
    FROM {table:otel_eval_scores}
    WHERE toStartOfHour(Minute) IN (SELECT Hour FROM Touched)
    UNION ALL
    SELECT
        Hour, ServiceName, ServiceVersion, Model, PromptVersion,
        EvaluationName, EvaluatorVersion, Policy, Stratum, SignalClass, 0, false, 0, false, false
    FROM {table:otel_eval_scores_hourly}
    WHERE Hour IN (SELECT Hour FROM Touched)
)
GROUP BY Hour, ServiceName, ServiceVersion, Model, PromptVersion, EvaluationName, EvaluatorVersion, Policy, Stratum, SignalClass;
