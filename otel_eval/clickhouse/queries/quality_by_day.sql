-- How good the traffic was, by day, service and evaluation. Estimates speak of all traces, not only of the judged ones.
--
-- Columns
--   Day, Service, Evaluation  days are those of the server's time zone; then what is said below of an estimate
WITH
{include: estimate toDate(Minute), ServiceName}
SELECT
    Slice.1 AS Day, Slice.2 AS Service, EvaluationName AS Evaluation, Estimate, Low, High, State, Needed, StandardError,
    Judged, Effective, Traces, Covered, Chosen, Response, RawMean, LargestWeight, Versions, Simulated
FROM Estimates
ORDER BY Service, Evaluation, Day
