-- The estimate of one evaluation by bucket; Grafana repeats the panel for each of those that are chosen.
WITH
{include: estimate toStartOfInterval(Minute, toIntervalSecond(${bucket}))}
SELECT Slice.1 AS time, Estimate, Low, High, RawMean AS "Plain mean of what was judged"
FROM Estimates
ORDER BY time
