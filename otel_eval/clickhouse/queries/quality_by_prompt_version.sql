-- How good the traffic was with each version of the prompt, by service and evaluation. Estimates speak of all traces, not
-- only of the judged ones.
--
-- Columns
--   Service, PromptVersion, Evaluation  '' where the agent tells no version; then what is said below of an estimate
-- Caveats
--   Versions that ran at different times differ by what happened then too.
WITH
{include: estimate ServiceName, PromptVersion}
SELECT
    Slice.1 AS Service, Slice.2 AS PromptVersion, EvaluationName AS Evaluation, Estimate, Low, High, State, Needed, StandardError,
    Judged, Effective, Traces, Covered, Chosen, Response, RawMean, LargestWeight, Versions, Simulated
FROM Estimates
ORDER BY Service, Evaluation, PromptVersion
