-- Scores as estimates need them: one row is one score, with the class and probability that its trace has by its latest
-- decision. Feedback that comes later may put a judged trace into another class with a higher probability; otel_eval_traffic
-- counts it there, and otel_evaluations still says what was known when it was judged.
CREATE VIEW IF NOT EXISTS {table:otel_eval_scores}{on_cluster}
AS WITH decision.latest.1 > 0 AND score.Policy NOT IN ('session', 'asked') AS counted
SELECT
    score.* REPLACE (
        if(counted, decision.latest.1, score.Probability) AS Probability,
        if(counted, decision.latest.2, score.Policy) AS Policy,
        if(counted, decision.latest.3, score.Stratum) AS Stratum,
        if(counted, decision.latest.4, score.SignalClass) AS SignalClass
    )
FROM (SELECT * FROM {table:otel_evaluations} FINAL) AS score
LEFT JOIN (
    SELECT Minute, TraceId, argMax(tuple(Probability, Policy, Stratum, SignalClass), Revision) AS latest
    FROM {table:otel_eval_decisions}
    WHERE Chosen
    GROUP BY Minute, TraceId
) AS decision USING (Minute, TraceId);

{distributed:otel_eval_scores cityHash64(TraceId)};
