-- How much of the traffic was judged, and how judging ended, by service and policy.
--
-- Parameters
--   service String = ''  only this service; '' for all
--   since DateTime = 7 days ago  traces counted in this minute or later
--   until DateTime = now  traces counted before
-- Columns
--   Service, Policy      the policy that chose, or would have chosen, the trace, by its latest decision
--   Traces               agents' traces, judged or not
--   Chosen, ChosenShare  chosen for judging; Chosen / Traces
--   Ended                chosen traces that have a terminal state
--   Scored               of these, scored, also from the cache
--   Response             Scored / Chosen
--   ScoredShare          Scored / Traces
--   Waiting              Chosen - Ended: in the queue, or lost if it stays
--   States               number of traces by terminal state
-- Caveats
--   Policies asked and session judge traces that are counted under another policy: they have no Traces here.
WITH Counted AS (
    SELECT TraceId, argMax(Policy, Revision) AS CountedAs
    FROM otel_eval_decisions
    WHERE Chosen AND Minute >= {since:DateTime} AND Minute < {until:DateTime}
        AND ({service:String} = '' OR ServiceName = {service:String})
    GROUP BY TraceId
),
Ends AS (
    SELECT TraceId, argMax(tuple(ServiceName, Policy, State), (Revision, JudgedAt)) AS Last
    FROM otel_eval_judgements
    WHERE Minute >= {since:DateTime} AND Minute < {until:DateTime} AND Scope = 'trace'
        AND ({service:String} = '' OR ServiceName = {service:String})
    GROUP BY TraceId
)
SELECT
    Service, Policy, sum(InTraffic) AS Traces, sum(InChosen) AS Chosen, Chosen / nullIf(Traces, 0) AS ChosenShare,
    sum(InEnded) AS Ended, sumIf(InEnded, EndState IN ('scored', 'cached')) AS Scored,
    Scored / nullIf(Chosen, 0) AS Response, Scored / nullIf(Traces, 0) AS ScoredShare,
    if(Policy IN ('asked', 'session'), NULL, Chosen - Ended) AS Waiting,
    mapSort(mapFilter((state, number) -> state != '', sumMap(map(EndState, InEnded)))) AS States
FROM (
    SELECT
        toString(ServiceName) AS Service, toString(Policy) AS Policy, sum(Traces) AS InTraffic, sum(Chosen) AS InChosen,
        toInt64(0) AS InEnded, '' AS EndState
    FROM otel_eval_traffic FINAL
    WHERE Eligible AND Minute >= {since:DateTime} AND Minute < {until:DateTime}
        AND ({service:String} = '' OR ServiceName = {service:String})
    GROUP BY ServiceName, Policy
    UNION ALL
    SELECT
        toString(Last.1) AS Service,
        toString(if(Last.2 IN ('asked', 'session') OR CountedAs = '', Last.2, CountedAs)) AS Policy,
        toInt64(0), toInt64(0), toInt64(count()), toString(Last.3) AS EndState
    FROM Ends LEFT JOIN Counted USING (TraceId)
    GROUP BY Service, Policy, EndState
)
GROUP BY Service, Policy
ORDER BY Service, Traces DESC, Policy
