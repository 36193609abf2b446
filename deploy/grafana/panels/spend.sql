-- USD for judging.
SELECT $__timeInterval(ScoredAt) AS time, EvaluatorName AS Evaluator, sum(CostUsd) AS USD
FROM otel_evaluations FINAL
WHERE $__timeFilter(ScoredAt) AND JudgeModel != '' AND ({service:String} = '' OR ServiceName = {service:String})
GROUP BY time, Evaluator
ORDER BY time, Evaluator
