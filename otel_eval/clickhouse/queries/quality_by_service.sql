-- How good the traffic of each service was, by evaluation. Estimates speak of all traces, not only of the judged ones.
--
-- Columns
--   Service, Evaluation  what was judged, and how; then what is said below of an estimate
WITH
{include: estimate ServiceName}
SELECT
    Slice.1 AS Service, EvaluationName AS Evaluation, Estimate, Low, High, State, Needed, StandardError,
    Judged, Effective, Traces, Covered, Chosen, Response, RawMean, LargestWeight, Versions, Simulated
FROM Estimates
ORDER BY Service, Evaluation
