-- Share of traces with an error, and what a trace cost.
SELECT
    $__timeInterval(Minute) AS time, sum(Errors) / nullIf(sum(Traces), 0) AS "With an error",
    sum(CostUsd) / nullIf(sum(Traces), 0) AS "USD a trace"
FROM otel_eval_traffic FINAL
WHERE Eligible AND $__timeFilter(Minute) AND ({service:String} = '' OR ServiceName = {service:String})
GROUP BY time
ORDER BY time
