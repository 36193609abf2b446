"""What the Collector's clickhouseexporter creates: its names, types, codecs, indexes and keys, version by version.

They are the facts that tables must agree on, taken from the templates of opentelemetry-collector-contrib (Apache-2.0),
`exporter/clickhouseexporter/internal/sqltemplates`.
"""

ZSTD = "CODEC(ZSTD(1))"
WORD = f"LowCardinality(String) {ZSTD}"
TEXT = f"String {ZSTD}"
MAP = f"Map(LowCardinality(String), String) {ZSTD}"
SCOPE = {"ScopeName": TEXT, "ScopeVersion": TEXT}

SPAN_COLUMNS = {
    "Timestamp": "DateTime64(9) CODEC(Delta, ZSTD(1))",
    "TraceId": TEXT,
    "SpanId": TEXT,
    "ParentSpanId": TEXT,
    "TraceState": TEXT,
    "SpanName": WORD,
    "SpanKind": WORD,
    "ServiceName": WORD,
    "ResourceAttributes": MAP,
    **SCOPE,
    "SpanAttributes": MAP,
    "Duration": f"UInt64 {ZSTD}",
    "StatusCode": WORD,
    "StatusMessage": TEXT,
    "Events": "Nested (Timestamp DateTime64(9), Name LowCardinality(String), "
    f"Attributes Map(LowCardinality(String), String)) {ZSTD}",
    "Links": f"Nested (TraceId String, SpanId String, TraceState String, Attributes Map(LowCardinality(String), String)) {ZSTD}",
}
LOG_COLUMNS = {
    "Timestamp": "DateTime64(9) CODEC(Delta(8), ZSTD(1))",
    "TimestampTime": "DateTime DEFAULT toDateTime(Timestamp)",
    "TraceId": TEXT,
    "SpanId": TEXT,
    "TraceFlags": "UInt8",
    "SeverityText": WORD,
    "SeverityNumber": "UInt8",
    "ServiceName": WORD,
    "Body": TEXT,
    "ResourceSchemaUrl": WORD,
    "ResourceAttributes": MAP,
    "ScopeSchemaUrl": WORD,
    "ScopeName": TEXT,
    "ScopeVersion": WORD,
    "ScopeAttributes": MAP,
    "LogAttributes": MAP,
    "EventName": TEXT,
}
TRACE_ID = "idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1"
DURATION = "idx_duration Duration TYPE minmax GRANULARITY 1"
SETTINGS = "SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1"


def attribute_indexes(short: str, column: str) -> list[str]:
    return [
        f"idx_{short}_attr_key mapKeys({column}) TYPE bloom_filter(0.01) GRANULARITY 1",
        f"idx_{short}_attr_value mapValues({column}) TYPE bloom_filter(0.01) GRANULARITY 1",
    ]


SPAN_INDEXES = [
    TRACE_ID,
    *attribute_indexes("res", "ResourceAttributes"),
    *attribute_indexes("span", "SpanAttributes"),
    DURATION,
]
LOG_INDEXES = [
    TRACE_ID,
    *attribute_indexes("res", "ResourceAttributes"),
    *attribute_indexes("scope", "ScopeAttributes"),
    *attribute_indexes("log", "LogAttributes"),
    "idx_body Body TYPE tokenbf_v1(32768, 3, 0) GRANULARITY 8",
]
SPAN_KEYS = f"PARTITION BY toDate(Timestamp) ORDER BY (ServiceName, SpanName, toDateTime(Timestamp)) {SETTINGS}"
LOOKUP = {
    "TraceId": TEXT,
    "Start": "DateTime CODEC(Delta, ZSTD(1))",
    "End": "DateTime CODEC(Delta, ZSTD(1))",
}


def table(name: str, columns: dict[str, str], indexes: list[str], keys: str, engine: str = "MergeTree()") -> str:
    parts = [f"{column} {kind}" for column, kind in columns.items()] + [f"INDEX {index}" for index in indexes]
    return f"CREATE TABLE IF NOT EXISTS {name} ({', '.join(parts)}) ENGINE = {engine} {keys}"


def view(database: str) -> str:
    return (
        f'CREATE MATERIALIZED VIEW IF NOT EXISTS "{database}"."otel_traces_trace_id_ts_mv" '
        f'TO "{database}"."otel_traces_trace_id_ts" AS SELECT TraceId, min(Timestamp) as Start, max(Timestamp) as End '
        f'FROM "{database}"."otel_traces" WHERE TraceId != \'\' GROUP BY TraceId'
    )


def released(database: str) -> list[str]:
    """Up to 0.150."""
    lookup = ["idx_trace_id TraceId TYPE bloom_filter(0.01) GRANULARITY 1"]
    log_keys = (
        "PARTITION BY toDate(TimestampTime) PRIMARY KEY (ServiceName, TimestampTime) "
        f"ORDER BY (ServiceName, TimestampTime, Timestamp) {SETTINGS}"
    )
    return [
        table(f"{database}.otel_traces", SPAN_COLUMNS, SPAN_INDEXES, SPAN_KEYS),
        table(
            f"{database}.otel_traces_trace_id_ts",
            LOOKUP,
            lookup,
            f"PARTITION BY toDate(Start) ORDER BY (TraceId, Start) {SETTINGS}",
        ),
        view(database),
        table(f"{database}.otel_logs", LOG_COLUMNS, LOG_INDEXES, log_keys),
    ]


def early(database: str) -> list[str]:
    """Before the scope had columns: spans last a signed number of nanoseconds; logs without the name of the event."""
    spans = {name: kind for name, kind in SPAN_COLUMNS.items() if name not in SCOPE} | {"Duration": f"Int64 {ZSTD}"}
    logs = {name: kind for name, kind in LOG_COLUMNS.items() if name not in {"EventName", "TimestampTime"}}
    log_keys = (
        f"PARTITION BY toDate(Timestamp) ORDER BY (ServiceName, SeverityText, toUnixTimestamp(Timestamp), TraceId) {SETTINGS}"
    )
    _, lookup, of_view, _ = released(database)
    return [
        table(f"{database}.otel_traces", spans, SPAN_INDEXES, SPAN_KEYS),
        *(lookup, of_view),
        table(f"{database}.otel_logs", logs, LOG_INDEXES, log_keys),
    ]


def newer(database: str) -> list[str]:
    """Of 2026: columns that are computed, indexes of words, a lookup table that aggregates, logs without TimestampTime."""
    items = "Array(String) ALIAS arrayMap(kv -> concat(kv.1, '=', kv.2), CAST({}, 'Array(Tuple(String, String))'))"
    spans = SPAN_COLUMNS | {
        "Duration": "UInt64 CODEC(T64, ZSTD(1))",
        "ResourceAttributeItems": items.format("ResourceAttributes"),
        "SpanAttributeItems": items.format("SpanAttributes"),
    }
    span_keys = (
        "PARTITION BY toDate(Timestamp) PRIMARY KEY (ServiceName, SpanName, toDateTime(Timestamp)) "
        f"ORDER BY (ServiceName, SpanName, toDateTime(Timestamp), Timestamp) {SETTINGS}"
    )
    array = "TYPE text(tokenizer = 'array')"
    indexes = [
        f"idx_trace_id TraceId {array}",
        f"idx_res_attr_items ResourceAttributeItems {array}",
        f"idx_span_attr_items SpanAttributeItems {array}",
        DURATION,
    ]
    lookup = {
        "TraceId": TEXT,
        "Start": f"SimpleAggregateFunction(min, DateTime) {ZSTD}",
        "End": f"SimpleAggregateFunction(max, DateTime) {ZSTD}",
    }
    logs = {name: kind for name, kind in LOG_COLUMNS.items() if name != "TimestampTime"}
    log_keys = f"PARTITION BY toDate(Timestamp) ORDER BY (ServiceName, toDateTime(Timestamp), Timestamp) {SETTINGS}"
    return [
        table(f"{database}.otel_traces", spans, indexes, span_keys),
        table(
            f"{database}.otel_traces_trace_id_ts",
            lookup,
            [],
            f"PARTITION BY toStartOfWeek(Start) ORDER BY (TraceId) {SETTINGS}",
            "AggregatingMergeTree()",
        ),
        view(database),
        table(f"{database}.otel_logs", logs, LOG_INDEXES, log_keys),
    ]
