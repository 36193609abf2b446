-- The worst judged traces of the last hour, with what was asked and answered, their scores and why.
--
-- Parameters
--   service String = ''  only this service; '' for all
--   evaluations Array(String) = []  only these evaluations; [] for all
--   since DateTime = 1 hour ago  traces counted in this minute or later
--   until DateTime = now  traces counted before
--   rows UInt32 = 20  so many traces
--   text_length UInt32 = 2000  characters of each text
-- Columns
--   TraceId, Time, Service          start of the span that was judged
--   Failed, Least                   evaluations that were not passed; the least score of those in [0, 1]
--   Asked, Answered                 the user's first message, the final answer; '' where no span has it
--   Scores                          by evaluation
--   Why                             explanations of what was not passed, else of all
--   Weight                          so many traces of its kind there were (1 / Probability); 0: unknown
--   Policy, Signals                 what chose the trace
-- Caveats
--   These are the worst of the judged traces. How often such traces are is what the quality queries say.
--   Texts come from spans and may hold anything. A trace longer than a day is not found whole.
WITH Worst AS (
    SELECT
        TraceId, min(SpanTimestamp) AS Start, any(ServiceName) AS Service,
        countIf(NOT Passed) AS FailedHere, minIf(Score, Score BETWEEN 0 AND 1) AS LeastHere,
        CAST(arrayMap(one -> (one.1, assumeNotNull(one.2)), arrayFilter(one -> isNotNull(one.2),
            groupArray((toString(EvaluationName), Score)))), 'Map(String, Float64)') AS ScoresHere,
        groupArrayIf(concat(EvaluationName, ': ', Explanation), Explanation != '') AS WhyAll,
        groupArrayIf(concat(EvaluationName, ': ', Explanation), Explanation != '' AND NOT ifNull(Passed, true)) AS WhyFailed,
        if(any(Probability) > 0, 1 / any(Probability), 0) AS WeightHere,
        any(Policy) AS PolicyHere, any(Signals) AS SignalsHere
    FROM (
        SELECT * FROM otel_eval_scores
        WHERE Minute >= {since:DateTime} AND Minute < {until:DateTime}
            AND ({service:String} = '' OR ServiceName = {service:String})
            AND (empty({evaluations:Array(String)}) OR has({evaluations:Array(String)}, EvaluationName))
        ORDER BY Revision DESC, ScoredAt DESC
        LIMIT 1 BY TraceId, EvaluationName, SpanId, Ordinal
    )
    GROUP BY TraceId
    ORDER BY FailedHere DESC, LeastHere, TraceId
    LIMIT {rows:UInt32}
),
{include: said Worst}
SELECT
    TraceId, Start AS Time, Service, FailedHere AS Failed, LeastHere AS Least,
    substringUTF8(FirstAsked, 1, {text_length:UInt32}) AS Asked, substringUTF8(LastAnswered, 1, {text_length:UInt32}) AS Answered,
    ScoresHere AS Scores, arrayStringConcat(if(empty(WhyFailed), WhyAll, WhyFailed), '\n') AS Why, WeightHere AS Weight,
    PolicyHere AS Policy, SignalsHere AS Signals
FROM Worst
LEFT JOIN Said USING (TraceId)
ORDER BY Failed DESC, Least, TraceId
