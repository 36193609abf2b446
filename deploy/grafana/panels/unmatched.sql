-- Feedback whose trace is not known.
SELECT Kind, Label, count() AS Feedback, max(Time) AS Latest
FROM otel_eval_unmatched_feedback FINAL
WHERE $__timeFilter(Time)
GROUP BY Kind, Label
ORDER BY Feedback DESC
