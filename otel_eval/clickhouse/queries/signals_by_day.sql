-- How often each signal was seen, by day and service: in all agents' traces, judged or not.
--
-- Parameters
--   service String = ''  only this service; '' for all
--   since DateTime = 7 days ago  traces counted in this minute or later
--   until DateTime = now  traces counted before
-- Columns
--   Day, Service, Signal  days are those of the server's time zone
--   Traces, Share         traces with the signal; of all traces of the day and service
--   Chosen                of these, chosen for judging
--   AllTraces             all traces of the day and service
-- Caveats
--   A trace with several signals counts for each. Days without a signal have no row.
WITH Latest AS (
    SELECT
        TraceId, argMax(tuple(Minute, ServiceName, mapKeys(Signals), Chosen, Eligible), Revision) AS Last,
        Last.1 AS Counted, Last.2 AS Service, Last.3 AS Names, Last.4 AS WasChosen
    FROM otel_eval_decisions
    WHERE Minute >= {since:DateTime} AND Minute < {until:DateTime}
        AND ({service:String} = '' OR ServiceName = {service:String})
    GROUP BY TraceId
    HAVING Last.5 AND notEmpty(Names)
),
Totals AS (
    SELECT toDate(Minute) AS Day, ServiceName AS Service, sum(Traces) AS AllOfDay
    FROM otel_eval_traffic FINAL
    WHERE Eligible AND Minute >= {since:DateTime} AND Minute < {until:DateTime}
        AND ({service:String} = '' OR ServiceName = {service:String})
    GROUP BY Day, Service
)
SELECT
    Day, Service, Signal, Traces, Traces / nullIf(AllOfDay, 0) AS Share, Chosen, AllOfDay AS AllTraces
FROM (
    SELECT toDate(Counted) AS Day, Service, arrayJoin(Names) AS Signal, count() AS Traces, countIf(WasChosen) AS Chosen
    FROM Latest
    GROUP BY Day, Service, Signal
) AS Seen
LEFT JOIN Totals USING (Day, Service)
ORDER BY Service, Signal, Day
