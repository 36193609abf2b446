-- The quality of all traffic, estimated from the traces that were judged: post-stratified means of each evaluation and
-- slice ({arguments}), one row of Estimates each.
--
-- Parameters
--   service String = ''  only this service; '' for all
--   evaluations Array(String) = []  only these evaluations; [] for all
--   since DateTime = 7 days ago  traces counted in this minute or later
--   until DateTime = now  traces counted before
--   measure String = 'score'  what is averaged: score, or passed (1 or 0; makes it a pass rate)
--   merge_below UInt32 = 100  classes with fewer effective judged traces are merged into one of their slice; 0 for none
-- Columns
--   Estimate           mean over all traffic of the slice; NULL: too few judged traces in a class, or scores all alike
--   Low, High          95 % interval (normal); NULL: none, see State
--   State              ok: there is an interval; insufficient_data: there is none
--   Needed             judged traces that are missing for an interval; NULL: unknown, as the scores show no spread
--   StandardError      of Estimate
--   Judged, Effective  judged traces with a score; as many of equal weight would tell as much (Kish)
--   Traces             all traces of the slice, judged or not
--   Covered            share of Traces in classes with a judged trace: nothing is known of the others
--   Chosen, Response   traces chosen for judging; Judged / Chosen
--   RawMean            plain mean of the judged traces: wrong where failures are judged more often; for comparison only
--   LargestWeight      share of the sum of weights that one trace has; above 0.1 one trace makes the result
--   Versions           versions of the evaluator; more than 1: the mean is of several judges
--   Simulated          whether scores are of a stand-in that is no judge
-- Caveats
--   A class is (Policy, Stratum, SignalClass) of a slice; 1 / Probability weighs inside it, otel_eval_traffic between them.
--   Classes that were judged whole are exact. The interval is of the process: what the system does, not only these traces.
--   An interval takes 100 effective judged traces in each class that was not judged whole, a number takes 10. The exact
--   intervals for 10 to 99 are those of otel_eval.analysis only. Merging keeps Estimate right, but widens it.
--   Scores are taken as in [0, 1] if all of the evaluation's are and they are no seconds or dollars (cost, latency,
--   time_to_first_token): else the variance has no 0 and 1 added to each class.
--   Several scores of one trace (of spans) count as their mean, of its latest revision and evaluator version.
--   Traces that an evaluator did not apply to are taken to be like those it applied to: see Response.
--   Policies session and asked, and probability 0, stand for no traffic and stay out.
OfTraces AS (
    SELECT
        TraceId, EvaluationName, EvaluatorVersion, Revision, max(ScoredAt) AS LastScoredAt,
        any(tuple({arguments})) AS Slice,
        any(tuple(Policy, Stratum, SignalClass)) AS Class,
        any(1 / Probability) AS w,
        avg(if({measure:String} = 'passed', toFloat64(Passed), Score)) AS y,
        max(Simulated) AS AnySimulated
    FROM otel_eval_scores
    WHERE Minute >= {since:DateTime} AND Minute < {until:DateTime}
        AND ({service:String} = '' OR ServiceName = {service:String})
        AND (empty({evaluations:Array(String)}) OR has({evaluations:Array(String)}, EvaluationName))
        AND Scope != 'session' AND Policy NOT IN ('session', 'asked') AND Probability > 0
        AND ifNull(isFinite(if({measure:String} = 'passed', toFloat64(Passed), Score)), false)
    GROUP BY TraceId, EvaluationName, EvaluatorVersion, Revision
    ORDER BY Revision DESC, LastScoredAt DESC
    LIMIT 1 BY TraceId, EvaluationName
),
JudgedSlices AS (
    SELECT
        EvaluationName, Slice,
        groupArray((Class, toInt64(0), Pairs)) AS OfJudged,
        min(min(Least)) OVER (PARTITION BY EvaluationName) >= 0
            AND max(max(Most)) OVER (PARTITION BY EvaluationName) <= 1
            AND ({measure:String} = 'passed'
                OR splitByChar('/', toString(EvaluationName))[1] NOT IN ('cost', 'latency', 'time_to_first_token')) AS Bounded,
        tuple(sum(Total) / sum(length(Pairs)), arraySort(groupUniqArrayArray(ClassVersions)), max(ClassSimulated)) AS About
    FROM (
        SELECT
            EvaluationName, Slice, Class,
            groupArray((assumeNotNull(y), w)) AS Pairs, sum(assumeNotNull(y)) AS Total,
            min(assumeNotNull(y)) AS Least, max(assumeNotNull(y)) AS Most,
            groupUniqArray(toString(EvaluatorVersion)) AS ClassVersions, max(AnySimulated) AS ClassSimulated
        FROM OfTraces
        GROUP BY EvaluationName, Slice, Class
    )
    GROUP BY EvaluationName, Slice
),
CountedSlices AS (
    SELECT
        Slice, groupArray((Class, InClass, CAST([], 'Array(Tuple(Float64, Float64))'))) AS OfCounted,
        tuple(sum(InClassChosen), sum(InClassUsd)) AS Counts
    FROM (
        SELECT
            tuple({arguments}) AS Slice, tuple(Policy, Stratum, SignalClass) AS Class,
            sum(Traces) AS InClass, sum(Chosen) AS InClassChosen, sum(CostUsd) AS InClassUsd
        FROM otel_eval_traffic FINAL
        WHERE Eligible AND Minute >= {since:DateTime} AND Minute < {until:DateTime}
            AND ({service:String} = '' OR ServiceName = {service:String})
        GROUP BY Slice, Class
    )
    GROUP BY Slice
),
Classes AS (
    -- N traces of a class, n of them judged; counts that are not written yet cannot be fewer than what was judged
    SELECT
        EvaluationName, Slice, Class, any(SliceBounded) AS InBounds, any(OfSlice) AS AboutSlice,
        groupArrayArray(One.3) AS ClassPairs, length(ClassPairs) AS n, greatest(sum(One.2), n) AS N,
        n < N AND ifNotFinite(pow(arraySum(ClassPairs.2), 2) / arraySum(w -> w * w, ClassPairs.2), 0) < {merge_below:UInt32}
            AS Small
    FROM (
        SELECT
            EvaluationName, Slice, Bounded AS SliceBounded, (About, Counts) AS OfSlice,
            arrayJoin(arrayConcat(OfJudged, OfCounted)) AS One, One.1 AS Class
        FROM JudgedSlices LEFT JOIN CountedSlices USING (Slice)
    )
    GROUP BY EvaluationName, Slice, Class
    HAVING N > 0
),
Parts AS (
    SELECT
        EvaluationName, Slice, AboutSlice, Bounded, N, n, n = N AS Whole,
        arrayMap(w -> if(Whole, 1., w * N / arraySum(Pairs.2)), Pairs.2) AS Weights,
        arraySum((y, w) -> w * y, Pairs.1, Weights) / N AS Mean,
        arraySum(w -> w * w, Weights) AS Weights2,
        if(arrayMin(Pairs.2) = arrayMax(Pairs.2) OR Whole, n, ifNotFinite(N * N / Weights2, 0)) AS InEffect,
        n + 2 * Bounded AS m, N / n AS Added, N + 2 * Bounded * Added AS Weight,
        (N * Mean + Bounded * Added) / Weight AS Centre,
        (arraySum((y, w) -> pow(w * (y - Centre), 2), Pairs.1, Weights)
            + Bounded * pow(Added, 2) * (pow(Centre, 2) + pow(1 - Centre, 2)))
            * m / n * m / greatest(m - 1, 1) / pow(Weight, 2) AS Variance
    FROM (
        SELECT
            EvaluationName, Slice, any(AboutSlice) AS AboutSlice, any(InBounds) AS Bounded,
            groupArrayArray(ClassPairs) AS Pairs, toFloat64(sum(C.N)) AS N, toFloat64(sum(C.n)) AS n
        FROM Classes AS C
        GROUP BY
            EvaluationName, Slice,
            if(Small, (true, CAST(('', '', ''), 'Tuple(String, String, String)')), (false, Class))
    )
),
Sums AS (
    SELECT
        EvaluationName, Slice, any(AboutSlice) AS OfSlice, any(Bounded) AS InBounds,
        sum(P.N) AS Total, sum(P.n) AS JudgedTraces,
        groupArray((P.N, Mean)) AS Means,
        arraySum(one -> one.1 * one.2, Means) / Total AS M,
        sqrt(sumIf(pow(P.N, 2) * Variance, P.n > 0) + arraySum(one -> one.1 * pow(one.2 - M, 2), Means)) / Total AS Error,
        if(countIf(NOT Whole) = 0, JudgedTraces, minIf(InEffect, NOT Whole)) AS LeastInEffect,
        if(countIf(NOT Whole) = 0, greatest(100 - JudgedTraces, 0.),
            sumIf(greatest(ceil(least(100., P.N) - InEffect), 0.), NOT Whole)) AS Missing,
        Error <= 1e-12 * abs(M) AS Flat,
        sumIf(P.N, P.n > 0) AS Told, sumIf(Weights2, P.n > 0) AS SumOfSquares,
        max(arrayMax(Weights)) / Told AS LargestShare
    FROM Parts AS P
    GROUP BY EvaluationName, Slice
),
Estimates AS (
    SELECT
        EvaluationName, Slice,
        if(LeastInEffect >= 10 AND NOT Flat, M, NULL) AS Estimate,
        if(LeastInEffect >= 100 AND NOT Flat, M - 1.9599639845400545 * Error, NULL) AS Lower,
        if(LeastInEffect >= 100 AND NOT Flat, M + 1.9599639845400545 * Error, NULL) AS Upper,
        if(InBounds AND Lower < 0, 0., Lower) AS Low,
        if(InBounds AND Upper > 1, 1., Upper) AS High,
        if(isNull(Lower), 'insufficient_data', 'ok') AS State,
        if(Flat AND Missing = 0, NULL, toUInt64(Missing)) AS Needed,
        if(isNull(Estimate), NULL, Error) AS StandardError,
        toUInt64(JudgedTraces) AS Judged, pow(Told, 2) / SumOfSquares AS Effective,
        toUInt64(Total) AS Traces, Told / Total AS Covered,
        OfSlice.2.1 AS Chosen, JudgedTraces / nullIf(OfSlice.2.1, 0) AS Response, OfSlice.1.1 AS RawMean,
        LargestShare AS LargestWeight, OfSlice.1.2 AS VersionNames, length(VersionNames) AS Versions,
        OfSlice.1.3 AS Simulated, OfSlice.2.2 AS CostUsd
    FROM Sums
)
