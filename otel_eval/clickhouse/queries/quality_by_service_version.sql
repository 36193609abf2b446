-- How good the traffic was with each version of a service, by evaluation. Estimates speak of all traces, not
-- only of the judged ones.
--
-- Columns
--   Service, ServiceVersion, Evaluation  '' where the service tells no version; then an estimate, as below
-- Caveats
--   Versions that ran at different times differ by what happened then too.
WITH
{include: estimate ServiceName, ServiceVersion}
SELECT
    Slice.1 AS Service, Slice.2 AS ServiceVersion, EvaluationName AS Evaluation,
    Estimate, Low, High, State, Needed, StandardError,
    Judged, Effective, Traces, Covered, Chosen, Response, RawMean, LargestWeight, Versions, Simulated
FROM Estimates
ORDER BY Service, Evaluation, ServiceVersion
