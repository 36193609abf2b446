-- Everything about one trace, in the order of time: its spans, decisions, scores, how judging ended, and outcomes.
--
-- Parameters
--   trace_id String  32 hexadecimal digits
--   text_length UInt32 = 1000  characters of each text
-- Columns
--   Time, What      start of a span, time of what else there is; span, decision, score, judgement or outcome
--   Name            of the span or evaluation; the policy of a decision; the state of a judgement; the goal of an outcome
--   Value           seconds of a span, probability of a decision, score, tries of a judgement, 1 or 0 of an outcome
--   Id              span id, job id or id of the outcome
--   Detail          status and attributes, signals, explanation, reason, metadata
WITH lower({trace_id:String}) AS Wanted
SELECT * FROM (
    SELECT
        Timestamp AS Time, 'span' AS What, toString(SpanName) AS Name, toNullable(Duration / 1e9) AS Value, SpanId AS Id,
        substringUTF8(concat(StatusCode, if(StatusMessage = '', '', concat(' ', StatusMessage)), ' ', toString(SpanAttributes)),
            1, {text_length:UInt32}) AS Detail
    FROM otel_traces
    WHERE TraceId = Wanted
        AND Timestamp >= (SELECT min(Start) FROM otel_traces_trace_id_ts WHERE TraceId = Wanted)
        AND Timestamp < (SELECT max(End) FROM otel_traces_trace_id_ts WHERE TraceId = Wanted) + toIntervalSecond(1)
    UNION ALL
    SELECT
        DecidedAt, 'decision', concat(Policy, if(Chosen, ': chosen', ': not chosen')), toNullable(Probability), '',
        substringUTF8(concat('revision ', toString(Revision), ', ', toString(Trigger), ', rates ', toString(Rates),
            ', signals ', toString(Signals)), 1, {text_length:UInt32})
    FROM otel_eval_decisions FINAL WHERE TraceId = Wanted
    UNION ALL
    SELECT
        ScoredAt, 'score', toString(EvaluationName), Score, SpanId,
        substringUTF8(
            concat(multiIf(isNull(Passed), '', Passed, 'passed ', 'failed '), Label, if(Label = '', '', ' '), Explanation),
            1, {text_length:UInt32})
    FROM otel_evaluations FINAL WHERE TraceId = Wanted
    UNION ALL
    SELECT JudgedAt, 'judgement', toString(State), toNullable(toFloat64(Tries)), JobId,
        substringUTF8(concat(Reason, if(Reason = '', '', ' '), toString(arrayZip(Results.Evaluator, Results.State))),
            1, {text_length:UInt32})
    FROM otel_eval_judgements FINAL WHERE TraceId = Wanted
    UNION ALL
    SELECT
        Time, 'outcome', GoalId, ifNull(toFloat64(Success), Score), Id,
        substringUTF8(toString(Metadata), 1, {text_length:UInt32})
    FROM otel_eval_outcomes FINAL WHERE TraceId = Wanted
)
ORDER BY Time, What, Id, Name
