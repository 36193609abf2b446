-- Share of all traces with each signal.
WITH Total AS (
    SELECT $__timeInterval(Minute) AS time, sum(Traces) AS AllTraces
    FROM otel_eval_traffic FINAL
    WHERE Eligible AND $__timeFilter(Minute) AND ({service:String} = '' OR ServiceName = {service:String})
    GROUP BY time
),
Latest AS (
    SELECT argMax(tuple(Minute, mapKeys(Signals)), Revision) AS Last, Last.1 AS Counted, Last.2 AS Names
    FROM otel_eval_decisions
    WHERE Eligible AND $__timeFilter(Minute) AND ({service:String} = '' OR ServiceName = {service:String})
    GROUP BY TraceId
),
Found AS (
    SELECT $__timeInterval(Counted) AS time, arrayJoin(Names) AS Signal, count() AS Seen FROM Latest GROUP BY time, Signal
)
SELECT time, Signal, Seen / nullIf(AllTraces, 0) AS Share
FROM Found LEFT JOIN Total USING (time)
ORDER BY time, Signal
