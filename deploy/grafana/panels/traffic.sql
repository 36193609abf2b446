-- Traces by the signals that they had.
SELECT $__timeInterval(Minute) AS time, if(SignalClass = '', 'no signal', SignalClass) AS Signals, sum(Traces) AS Traces
FROM otel_eval_traffic FINAL
WHERE Eligible AND $__timeFilter(Minute) AND ({service:String} = '' OR ServiceName = {service:String})
GROUP BY time, Signals
ORDER BY time, Signals
