-- Traces, and those chosen for judging.
SELECT $__timeInterval(Minute) AS time, Policy, sum(Traces) AS Traces, sum(Chosen) AS Chosen
FROM otel_eval_traffic FINAL
WHERE Eligible AND $__timeFilter(Minute) AND ({service:String} = '' OR ServiceName = {service:String})
GROUP BY time, Policy
ORDER BY time, Policy
