"""The demo, `python -m otel_eval.demo`: a support agent of an online shop, a hop between it and ClickHouse, a judge, a report.

What is real: the OpenTelemetry SDK and its OTLP exporters, the command `otel-eval run` as a process of its own, its embedded
ClickHouse, all evaluators by code. What is simulated: the shop, its customers and its agent (`story`, the same for the same
seed), and, without a key, the judge (`otel_eval.standin`, whose scores are marked).

Time: six days of the story take a minute. Spans have the time at which they are made, and the day is the attribute `shop.day`,
which is the stratum; so each day is counted, and judged at a rate of its own.

Truth: of each answer the story knows whether it is good. That stays in this process (`traffic.Traffic.truth`), in no span, id or
file, and is printed beside each estimate. The judge looks at what any judge gets, and is wrong at times.

Files, below `otel-eval-data/demo/<time of the start>`: otel-eval.yaml (the configuration), journal/, clickhouse/, logs. They
stay, for `otel-eval query` and the like.

The report adds up when ClickHouse has every span and every trace that was sent, and each chosen trace has come to one end; else
the status is 1. Both are asked of ClickHouse, by the queries that are printed (`queries`).

Limits: the agent writes English only; figures are in EUR. The extra `otel-eval[demo]` is needed.
"""
