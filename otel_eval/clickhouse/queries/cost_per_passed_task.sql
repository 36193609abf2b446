-- What one passed task costs, by day and service: what the agents spent on all traces over the estimated number that passed.
--
-- Parameters
--   evaluations Array(String) = task_completion  which evaluations say that a task passed
--   measure String = 'passed'  the pass rate; leave it
-- Columns
--   Day, Service, Evaluation   days are those of the server's time zone
--   UsdPerPassed, Low, High    USD the passed trace, with 95 % interval; NULL: no estimate or interval of the pass rate
--   UsdPerTrace                USD the trace, passed or not
--   Usd                        USD of all traces, as their spans tell it; 0: they tell none
--   JudgeUsd                   USD that judging took on top, all evaluations of the day
--   Traces, Passed             all traces; the estimated number that passed
--   PassRate, State, Judged    the estimate, whether it has an interval, and the judged traces it rests on
-- Caveats
--   The interval is of the pass rate; what was spent is known exactly.
WITH
{include: estimate toDate(Minute), ServiceName}
, Judging AS (
    SELECT tuple(toDate(Minute), ServiceName) AS Slice, sum(CostUsd) AS SpentUsd
    FROM otel_evaluations FINAL
    WHERE Minute >= {since:DateTime} AND Minute < {until:DateTime}
        AND ({service:String} = '' OR ServiceName = {service:String})
    GROUP BY Slice
)
SELECT
    Slice.1 AS Day, Slice.2 AS Service, EvaluationName AS Evaluation,
    CostUsd / nullIf(E.Traces * E.Estimate, 0) AS UsdPerPassed,
    CostUsd / nullIf(E.Traces * E.High, 0) AS Low,
    CostUsd / nullIf(E.Traces * E.Low, 0) AS High,
    CostUsd / E.Traces AS UsdPerTrace, CostUsd AS Usd, SpentUsd AS JudgeUsd,
    E.Traces AS Traces, E.Traces * E.Estimate AS Passed, E.Estimate AS PassRate, E.State AS State, E.Judged AS Judged
FROM Estimates AS E
LEFT JOIN Judging USING (Slice)
ORDER BY Service, Evaluation, Day
