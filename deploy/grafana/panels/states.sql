-- Jobs by terminal state.
SELECT $__timeInterval(JudgedAt) AS time, State, count() AS Jobs
FROM otel_eval_judgements FINAL
WHERE $__timeFilter(JudgedAt) AND ({service:String} = '' OR ServiceName = {service:String})
GROUP BY time, State
ORDER BY time, State
