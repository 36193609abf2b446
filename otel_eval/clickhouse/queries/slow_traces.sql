-- The slowest traces, with what was asked and the spans that took longest.
--
-- Parameters
--   service String = ''  only this service; '' for all
--   since DateTime = 1 day ago  traces counted in this minute or later
--   until DateTime = now  traces counted before
--   rows UInt32 = 20  so many traces
--   text_length UInt32 = 500  characters of each text
-- Columns
--   TraceId, Time, Service  start of the trace
--   Seconds, Spans          its duration, and how many spans it has
--   Slowest                 its spans without children that took longest, seconds by name
--   Asked, Answered         the user's first message, the final answer; '' where no span has it
--   Signals, Chosen         what was seen in it; whether it was chosen for judging
-- Caveats
--   A trace longer than a day is not found whole.
WITH Slow AS (
    SELECT
        TraceId, argMax(tuple(Timestamp, ServiceName, Duration, Spans, mapKeys(Signals), Chosen), Revision) AS Last,
        Last.1 AS Start
    FROM otel_eval_decisions
    WHERE Minute >= {since:DateTime} AND Minute < {until:DateTime}
        AND ({service:String} = '' OR ServiceName = {service:String}) AND Eligible
    GROUP BY TraceId
    ORDER BY Last.3 DESC, TraceId
    LIMIT {rows:UInt32}
),
{include: said Slow}
, Leaves AS (
    SELECT
        TraceId,
        CAST(arraySlice(arrayReverseSort(one -> one.2, groupArray((toString(SpanName), Duration / 1e9))), 1, 3),
            'Map(String, Float64)') AS SlowestHere
    FROM otel_traces
    WHERE TraceId GLOBAL IN (SELECT TraceId FROM Slow) AND ScopeName != 'otel_eval'
        AND Timestamp >= (SELECT min(Start) FROM Slow) - toIntervalHour(1)
        AND Timestamp <= (SELECT max(Start) FROM Slow) + toIntervalDay(1)
        AND (TraceId, SpanId) GLOBAL NOT IN (
            SELECT TraceId, ParentSpanId FROM otel_traces
            WHERE TraceId GLOBAL IN (SELECT TraceId FROM Slow) AND Timestamp >= (SELECT min(Start) FROM Slow) - toIntervalHour(1)
                AND Timestamp <= (SELECT max(Start) FROM Slow) + toIntervalDay(1) AND ScopeName != 'otel_eval'
        )
    GROUP BY TraceId
)
SELECT
    TraceId, Start AS Time, Last.2 AS Service, Last.3 / 1e9 AS Seconds, Last.4 AS Spans, SlowestHere AS Slowest,
    substringUTF8(FirstAsked, 1, {text_length:UInt32}) AS Asked, substringUTF8(LastAnswered, 1, {text_length:UInt32}) AS Answered,
    Last.5 AS Signals, Last.6 AS Chosen
FROM Slow
LEFT JOIN Said USING (TraceId)
LEFT JOIN Leaves USING (TraceId)
ORDER BY Seconds DESC, TraceId
