-- What came of asking each evaluator.
SELECT
    Evaluator, count() AS Asked, countIf(Came IN ('scored', 'cached')) / Asked AS Scored,
    countIf(Came = 'cached') AS Cached, topKIf(3)(Said, Said != '') AS Reasons
FROM otel_eval_judgements FINAL
ARRAY JOIN `Results.Evaluator` AS Evaluator, `Results.State` AS Came, `Results.Reason` AS Said
WHERE $__timeFilter(JudgedAt) AND ({service:String} = '' OR ServiceName = {service:String})
GROUP BY Evaluator
ORDER BY Scored, Evaluator
