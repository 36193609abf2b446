-- What changed since yesterday: each service and evaluation over the last 24 hours against the 24 hours before. Another
-- window is halved likewise: --days 14 compares a week with the one before.
--
-- Parameters
--   since DateTime = 2 days ago  begin of the earlier half
-- Columns
--   Service, Evaluation          what was judged, and how
--   Change                       worse, better or none that shows; judge_changed: other versions of the evaluator, so no
--                                comparison; insufficient_data: no interval
--   Difference, Error            later minus earlier estimate, and its standard error
--   DifferenceLow, DifferenceHigh  95 % interval of the difference (normal); NULL: one of the two has none
--   Later, Earlier               the two estimates
--   StateOfLater, StateBefore    whether each of them has an interval
--   JudgedOfLater, JudgedBefore  judged traces
--   TracesOfLater, TracesBefore  all traces
--   VersionsOfLater, VersionsBefore  of the evaluator
-- Caveats
--   What has scores in one half only has no row. Of 20 comparisons without any change, one shows one.
WITH
{include: estimate ServiceName, Minute >= {since:DateTime} + intDiv({until:DateTime} - {since:DateTime}, 2)}
SELECT
    Slice.1 AS Service, EvaluationName AS Evaluation,
    multiIf(
        VersionsOfLater != VersionsBefore OR length(VersionsOfLater) > 1, 'judge_changed',
        isNull(DifferenceLow), 'insufficient_data', DifferenceHigh < 0, 'worse', DifferenceLow > 0, 'better', 'none'
    ) AS Change,
    Later - Earlier AS Difference,
    if(StateOfLater = 'ok' AND StateBefore = 'ok', sqrt(sum(pow(E.StandardError, 2))), NULL) AS Error,
    Difference - 1.9599639845400545 * Error AS DifferenceLow,
    Difference + 1.9599639845400545 * Error AS DifferenceHigh,
    anyIf(E.Estimate, Slice.2) AS Later, anyIf(E.Estimate, NOT Slice.2) AS Earlier,
    anyIf(E.State, Slice.2) AS StateOfLater, anyIf(E.State, NOT Slice.2) AS StateBefore,
    anyIf(E.Judged, Slice.2) AS JudgedOfLater, anyIf(E.Judged, NOT Slice.2) AS JudgedBefore,
    anyIf(E.Traces, Slice.2) AS TracesOfLater, anyIf(E.Traces, NOT Slice.2) AS TracesBefore,
    anyIf(E.VersionNames, Slice.2) AS VersionsOfLater, anyIf(E.VersionNames, NOT Slice.2) AS VersionsBefore
FROM Estimates AS E
GROUP BY Service, Evaluation
HAVING count() = 2
ORDER BY Change = 'worse' DESC, Change = 'better' DESC, Difference, Service, Evaluation
