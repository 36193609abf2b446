-- What became of the tasks, as the application told, and whether the judges saw it the same way, by day and service.
--
-- Parameters
--   service String = ''  only this service; '' for all
--   evaluations Array(String) = task_completion  the evaluation whose verdict is compared: the first of them
--   since DateTime = 7 days ago  outcomes of then or later
--   until DateTime = now  outcomes before
-- Columns
--   Day, Service                days of the outcome in the server's time zone; '' where no trace is known
--   Outcomes                    how many were told
--   Succeeded, Failed           of those that say whether it was a success
--   SuccessShare                Succeeded / (Succeeded + Failed)
--   Score                       mean of the scores that were told
--   Compared, Agreed            outcomes whose trace has a verdict of the evaluation; those where both say the same
--   FalsePasses, FalseFailures  judged as passed but failed; judged as failed but a success
-- Caveats
--   Outcomes are told of some tasks only, and not of a random sample of them.
WITH Told AS (
    SELECT Time, TraceId, Success, Score FROM otel_eval_outcomes FINAL
    WHERE Time >= {since:DateTime} AND Time < {until:DateTime}
),
Services AS (
    SELECT TraceId, any(ServiceName) AS Service FROM otel_eval_decisions
    WHERE TraceId GLOBAL IN (SELECT TraceId FROM Told WHERE TraceId != '') GROUP BY TraceId
),
Verdicts AS (
    SELECT TraceId, argMax(Passed, (Revision, ScoredAt)) AS Verdict FROM otel_evaluations
    WHERE EvaluationName = {evaluations:Array(String)}[1] AND TraceId GLOBAL IN (SELECT TraceId FROM Told WHERE TraceId != '')
    GROUP BY TraceId
)
SELECT
    toDate(Time) AS Day, Service, count() AS Outcomes,
    countIf(Success) AS Succeeded, countIf(NOT Success) AS Failed,
    Succeeded / nullIf(Succeeded + Failed, 0) AS SuccessShare, avg(T.Score) AS Score,
    countIf(isNotNull(Verdict) AND isNotNull(Success)) AS Compared, countIf(Verdict = Success) AS Agreed,
    countIf(Verdict AND NOT Success) AS FalsePasses, countIf(NOT Verdict AND Success) AS FalseFailures
FROM Told AS T
LEFT JOIN Services USING (TraceId)
LEFT JOIN Verdicts USING (TraceId)
WHERE {service:String} = '' OR Service = {service:String}
GROUP BY Day, Service
ORDER BY Service, Day
