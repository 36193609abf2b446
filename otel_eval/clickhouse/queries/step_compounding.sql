-- How errors of single steps add up: how often each tool step of a trace works, the product over the steps, and how
-- often the whole trace succeeds, by service.
--
-- Parameters
--   service String = ''  only this service; '' for all
--   evaluations Array(String) = task_completion  what says that a whole trace succeeded: the first of them
--   since DateTime = 1 day ago  tool spans that began then or later
--   until DateTime = now  tool spans that began before
--   steps UInt32 = 10  no more steps than these
-- Columns
--   Service, Step            the how manieth tool call of its trace
--   Traces                   traces that got so far, judged or not
--   StepSuccess              share of these calls that worked
--   Product                  product of StepSuccess up to here: what it would be if steps failed independently
--   AllWorked                share of these traces in which every call up to here worked; above Product: the same traces fail
--   Passed                   pass rate of these traces by the evaluation, weighted by 1 / Probability
--   Judged                   judged traces that Passed rests on
--   Tools                    the tools that are called most at this step
-- Caveats
--   A call failed if its span has status Error or an error.type. Tool spans are those of OpenTelemetry GenAI,
--   OpenInference and OpenLLMetry. Passed has no interval here.
WITH Calls AS (
    SELECT
        ServiceName AS Service, TraceId, arraySort(one -> one.1, groupArray((
            Timestamp,
            StatusCode != 'Error' AND SpanAttributes['error.type'] = '',
            firstNonDefault(SpanAttributes['gen_ai.tool.name'], SpanAttributes['tool.name'], toString(SpanName))
        ))) AS InOrder
    FROM otel_traces
    WHERE Timestamp >= {since:DateTime} AND Timestamp < {until:DateTime} AND TraceId != ''
        AND ({service:String} = '' OR ServiceName = {service:String})
        AND (SpanAttributes['gen_ai.operation.name'] = 'execute_tool'
            OR SpanAttributes['openinference.span.kind'] = 'TOOL' OR SpanAttributes['traceloop.span.kind'] = 'tool')
    GROUP BY Service, TraceId
),
Verdicts AS (
    SELECT TraceId, argMax(tuple(Passed, Probability), (Revision, ScoredAt)) AS Last
    FROM otel_eval_scores
    WHERE EvaluationName = {evaluations:Array(String)}[1] AND isNotNull(Passed) AND Probability > 0
        AND Policy NOT IN ('session', 'asked') AND SpanTimestamp >= {since:DateTime} - toIntervalDay(1)
        AND SpanTimestamp < {until:DateTime} + toIntervalDay(1)
    GROUP BY TraceId
),
Steps AS (
    SELECT
        Service, Step, count() AS Reached, avg(Call.2) AS Worked,
        avg(arrayAll(one -> one.2, arraySlice(InOrder, 1, Step))) AS AllOk,
        sumIf(assumeNotNull(Last.1) / Last.2, Last.2 > 0) / sumIf(1 / Last.2, Last.2 > 0) AS PassRate,
        countIf(Last.2 > 0) AS JudgedHere, topK(3)(Call.3) AS Called
    FROM Calls
    LEFT JOIN Verdicts USING (TraceId)
    ARRAY JOIN arraySlice(InOrder, 1, {steps:UInt32}) AS Call, arrayEnumerate(arraySlice(InOrder, 1, {steps:UInt32})) AS Step
    GROUP BY Service, Step
)
SELECT
    Service, Step, Reached AS Traces, Worked AS StepSuccess,
    arrayProduct(groupArray(Worked) OVER (PARTITION BY Service ORDER BY Step)) AS Product,
    AllOk AS AllWorked, if(JudgedHere > 0, PassRate, NULL) AS Passed, JudgedHere AS Judged, Called AS Tools
FROM Steps
ORDER BY Service, Step
