-- Which moved, the retriever or the generator: relevance of the context against how well answers keep to it, by day and
-- service. Each day is compared with the day before.
--
-- Parameters
--   evaluations Array(String) = context_relevance,factual_grounding  the retriever's evaluation and the generator's
-- Columns
--   Day, Service                        days are those of the server's time zone
--   Moved                               retriever, generator, both or neither has changed since the day before, up or
--                                       down; insufficient_data: an interval is missing on either day
--   Retrieval, RetrievalLow, RetrievalHigh     estimate of the first evaluation, with 95 % interval
--   Grounding, GroundingLow, GroundingHigh     of the second
--   RetrievalChange, GroundingChange    since the day before that has a score
--   RetrievalJudged, GroundingJudged    judged traces
-- Caveats
--   A change is one whose 95 % interval does not hold 0. Where retrieval falls and grounding does not, look at the index;
--   where grounding falls alone, at model and prompt. `grounded_numbers` needs no judge: give it as the second.
WITH
{include: estimate toDate(Minute), ServiceName}
, Compared AS (
    SELECT
        Slice.1 AS Day, Slice.2 AS Service, EvaluationName = {evaluations:Array(String)}[1] AS IsRetrieval,
        Estimate, Low, High, StandardError, State, Judged,
        Estimate - lagInFrame(Estimate) OVER Days AS Changed,
        if(State = 'ok' AND lagInFrame(State) OVER Days = 'ok',
            abs(Changed) > 1.9599639845400545 * sqrt(pow(StandardError, 2) + pow(lagInFrame(StandardError) OVER Days, 2)), NULL)
            AS Significant
    FROM Estimates
    WHERE indexOf({evaluations:Array(String)}, EvaluationName) IN (1, 2)
    WINDOW Days AS (PARTITION BY Slice.2, EvaluationName ORDER BY Slice.1 ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
)
SELECT
    Day, Service,
    multiIf(
        countIf(isNotNull(Significant)) < 2, 'insufficient_data', countIf(Significant) = 2, 'both',
        countIf(Significant) = 0, 'neither', countIf(Significant AND IsRetrieval) = 1, 'retriever', 'generator'
    ) AS Moved,
    anyIf(Estimate, IsRetrieval) AS Retrieval, anyIf(Low, IsRetrieval) AS RetrievalLow, anyIf(High, IsRetrieval) AS RetrievalHigh,
    anyIf(Estimate, NOT IsRetrieval) AS Grounding, anyIf(Low, NOT IsRetrieval) AS GroundingLow,
    anyIf(High, NOT IsRetrieval) AS GroundingHigh,
    anyIf(Changed, IsRetrieval) AS RetrievalChange, anyIf(Changed, NOT IsRetrieval) AS GroundingChange,
    sumIf(Judged, IsRetrieval) AS RetrievalJudged, sumIf(Judged, NOT IsRetrieval) AS GroundingJudged
FROM Compared
GROUP BY Day, Service
ORDER BY Service, Day
