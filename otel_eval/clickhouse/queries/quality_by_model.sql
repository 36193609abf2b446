-- How good the traffic was with each model, by service and evaluation. Estimates speak of all traces, not
-- only of the judged ones.
--
-- Columns
--   Service, Model, Evaluation  the model is that of the judged traces, not the judge's; then an estimate, as below
-- Caveats
--   Models that got different requests differ by those too: this compares traffic as it was, not models on equal terms.
WITH
{include: estimate ServiceName, Model}
SELECT
    Slice.1 AS Service, Slice.2 AS Model, EvaluationName AS Evaluation, Estimate, Low, High, State, Needed, StandardError,
    Judged, Effective, Traces, Covered, Chosen, Response, RawMean, LargestWeight, Versions, Simulated
FROM Estimates
ORDER BY Service, Evaluation, Model
