-- What judging cost, by day, evaluator and judge model.
--
-- Parameters
--   service String = ''  only this service; '' for all
--   since DateTime = 7 days ago  scored then or later
--   until DateTime = now  scored before
-- Columns
--   Day, Evaluator, Model      day of scoring in the server's time zone; the model that was asked
--   Scores, Cached             scores; those whose verdict had been paid for before
--   Usd, UsdPerScore           USD, by the prices of the day; USD a score that was paid for
--   Unpriced                   scores that were paid for at a price nobody knows
--   InputTokens, OutputTokens  tokens
--   CacheReadTokens            those of the input that the provider had cached
--   LatencyS                   mean seconds of an answer
--   Simulated                  whether it was a stand-in that is no judge
-- Caveats
--   Judging that gave no score (refused, invalid) is in the traces of the judge and in its metrics, not here.
SELECT
    toDate(ScoredAt) AS Day, EvaluatorName AS Evaluator, JudgeModel AS Model,
    count() AS Scores, countIf(E.Cached) AS Cached,
    sum(CostUsd) AS Usd, Usd / nullIf(countIf(isNotNull(CostUsd)), 0) AS UsdPerScore,
    countIf(isNull(CostUsd) AND NOT E.Cached) AS Unpriced,
    sum(E.InputTokens) AS InputTokens, sum(E.OutputTokens) AS OutputTokens, sum(E.CacheReadTokens) AS CacheReadTokens,
    avg(E.LatencyS) AS LatencyS, max(E.Simulated) AS Simulated
FROM otel_evaluations AS E FINAL
WHERE ScoredAt >= {since:DateTime} AND ScoredAt < {until:DateTime} AND JudgeModel != ''
    AND ({service:String} = '' OR ServiceName = {service:String})
GROUP BY Day, Evaluator, Model
ORDER BY Day, Usd DESC, Evaluator, Model
