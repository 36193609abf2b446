-- Spans with their scores: one row is one span, with maps from the name of an evaluation to its latest score. Name the
-- service and the time as well where they are known. Latency belongs to otel_traces, averages to otel_evaluations.
CREATE VIEW IF NOT EXISTS {table:otel_traces_scored}{on_cluster}
AS SELECT
    span.*,
    evaluation.Scores AS Scores,
    evaluation.Labels AS Labels,
    evaluation.Passed AS Passed,
    evaluation.Explanations AS Explanations,
    evaluation.Probabilities AS Probabilities
FROM {table:otel_traces} AS span
LEFT JOIN (
    SELECT
        ServiceName, Timestamp, TraceId, SpanId,
        {map:scores Float64} AS Scores,
        {map:labels String} AS Labels,
        {map:verdicts Bool} AS Passed,
        {map:explanations String} AS Explanations,
        {map:probabilities Float64} AS Probabilities
    FROM (
        SELECT
            ServiceName, SpanTimestamp AS Timestamp, TraceId, SpanId,
            {latest:Score} AS scores,
            {latest:nullIf(Label, '')} AS labels,
            {latest:Passed} AS verdicts,
            {latest:nullIf(Explanation, '')} AS explanations,
            {latest:Probability} AS probabilities
        FROM {table:otel_evaluations} FINAL
        GROUP BY ServiceName, Timestamp, TraceId, SpanId
    )
) AS evaluation USING (ServiceName, Timestamp, TraceId, SpanId);

{distributed:otel_traces_scored cityHash64(TraceId)};
