-- Duration of traces in seconds: upper ends of histogram bins, ten to a decade.
SELECT
    time, pow(10, arrayFirst(bin -> Below[indexOf(Bins, bin)] >= Total * 0.5, Bins) / 10) / 1000 AS p50,
    pow(10, arrayFirst(bin -> Below[indexOf(Bins, bin)] >= Total * 0.9, Bins) / 10) / 1000 AS p90,
    pow(10, arrayFirst(bin -> Below[indexOf(Bins, bin)] >= Total * 0.99, Bins) / 10) / 1000 AS p99
FROM (
    SELECT
        $__timeInterval(Minute) AS time, mapSort(sumMap(Latency)) AS Histogram,
        mapKeys(Histogram) AS Bins, arrayCumSum(mapValues(Histogram)) AS Below, Below[-1] AS Total
    FROM otel_eval_traffic FINAL
    WHERE Eligible AND $__timeFilter(Minute) AND ({service:String} = '' OR ServiceName = {service:String})
    GROUP BY time
)
ORDER BY time
