Said AS (
    -- of the traces in {arguments}: the first that a user said, and the last that was answered, out of the attributes of
    -- OpenTelemetry GenAI, OpenInference or OpenLLMetry
    SELECT
        TraceId,
        argMinIf(Asked, Timestamp, Asked != '') AS FirstAsked,
        argMaxIf(Answered, addNanoseconds(Timestamp, Duration), Answered != '') AS LastAnswered
    FROM (
        SELECT
            TraceId, Timestamp, Duration,
            arrayFirst(message -> message.role = 'user', JSONExtract(SpanAttributes['gen_ai.input.messages'],
                'Array(Tuple(role String, content String, parts Array(Tuple(type String, content String))))')) AS UserMessage,
            arrayLast(message -> message.role = 'assistant', JSONExtract(SpanAttributes['gen_ai.output.messages'],
                'Array(Tuple(role String, content String, parts Array(Tuple(type String, content String))))')) AS Answer,
            firstNonDefault(arrayStringConcat(UserMessage.parts.content), UserMessage.content, SpanAttributes['input.value'],
                SpanAttributes['traceloop.entity.input'], SpanAttributes['gen_ai.prompt.0.content']) AS Asked,
            firstNonDefault(arrayStringConcat(Answer.parts.content), Answer.content, SpanAttributes['output.value'],
                SpanAttributes['traceloop.entity.output'], SpanAttributes['gen_ai.completion.0.content']) AS Answered
        FROM otel_traces
        WHERE TraceId GLOBAL IN (SELECT TraceId FROM {arguments}) AND ScopeName != 'otel_eval'
            AND Timestamp >= (SELECT min(Start) FROM {arguments}) - toIntervalHour(1)
            AND Timestamp <= (SELECT max(Start) FROM {arguments}) + toIntervalDay(1)
    )
    GROUP BY TraceId
)
