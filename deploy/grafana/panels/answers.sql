-- Seconds of a judge's answer.
SELECT $__timeInterval(ScoredAt) AS time, JudgeModel AS Model, quantile(0.5)(LatencyS) AS p50, quantile(0.9)(LatencyS) AS p90
FROM otel_evaluations FINAL
WHERE $__timeFilter(ScoredAt) AND JudgeModel != '' AND ({service:String} = '' OR ServiceName = {service:String})
GROUP BY time, Model
ORDER BY time, Model
