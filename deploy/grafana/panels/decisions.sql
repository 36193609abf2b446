-- Decisions: chosen, capped, not looked at for want of time, and the level of the judges' budget.
SELECT
    $__timeInterval(Counted) AS time, count() AS Decided, countIf(WasChosen) AS Chosen,
    countIf(WasCapped) AS Capped, countIf(WasUnread) AS Unread, max(UnderPressure) AS Pressure
FROM (
    SELECT
        argMax(tuple(Minute, Chosen, Capped, Unread, Pressure), Revision) AS Last,
        Last.1 AS Counted, Last.2 AS WasChosen, Last.3 AS WasCapped, Last.4 AS WasUnread, Last.5 AS UnderPressure
    FROM otel_eval_decisions
    WHERE Eligible AND $__timeFilter(Minute) AND ({service:String} = '' OR ServiceName = {service:String})
    GROUP BY TraceId
)
GROUP BY time
ORDER BY time
