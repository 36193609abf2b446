-- Where the bytes of OTLP export requests are inserted as they came (FORMAT ProtobufSingle): one row is one request.
-- It stores nothing; the view below takes it apart.
CREATE TABLE IF NOT EXISTS {database}.otel_traces_in{on_cluster} (
    resource_spans {resource_spans}
) ENGINE = Null;

-- One row of otel_traces for each span of a request. Kinds and codes that OTLP does not know are the unset ones, a span
-- that ends before it starts lasts 0, and times after the year 2262 are the last that DateTime64(9) holds.
CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.otel_traces_in_mv{on_cluster}
TO {database}.otel_traces
AS SELECT
    {time:span.start_time_unix_nano} AS Timestamp,
    lower(hex(span.trace_id)) AS TraceId,
    lower(hex(span.span_id)) AS SpanId,
    lower(hex(span.parent_span_id)) AS ParentSpanId,
    span.trace_state AS TraceState,
    span.name AS SpanName,
    transform(
        span.kind, [1, 2, 3, 4, 5], ['Internal', 'Server', 'Client', 'Producer', 'Consumer'], 'Unspecified'
    ) AS SpanKind,
    resource_attributes['service.name'] AS ServiceName,
    resource_attributes AS ResourceAttributes,
    scope.name AS ScopeName,
    scope.version AS ScopeVersion,
    {attributes:span.attributes} AS SpanAttributes,
    if(
        span.end_time_unix_nano > span.start_time_unix_nano, span.end_time_unix_nano - span.start_time_unix_nano, 0
    ) AS Duration,
    transform(span.status.code, [1, 2], ['Ok', 'Error'], 'Unset') AS StatusCode,
    span.status.message AS StatusMessage,
    arrayMap(event -> {time:event.time_unix_nano}, span.events) AS `Events.Timestamp`,
    arrayMap(event -> event.name, span.events) AS `Events.Name`,
    arrayMap(event -> {attributes:event.attributes}, span.events) AS `Events.Attributes`,
    arrayMap(link -> lower(hex(link.trace_id)), span.links) AS `Links.TraceId`,
    arrayMap(link -> lower(hex(link.span_id)), span.links) AS `Links.SpanId`,
    arrayMap(link -> link.trace_state, span.links) AS `Links.TraceState`,
    arrayMap(link -> {attributes:link.attributes}, span.links) AS `Links.Attributes`
FROM (
    SELECT {attributes:resource_pairs} AS resource_attributes, scope, arrayJoin(spans) AS span
    FROM (
        SELECT of_resource.resource.attributes AS resource_pairs, of_scope.scope AS scope, of_scope.spans AS spans
        FROM (
            SELECT of_resource, arrayJoin(of_resource.scope_spans) AS of_scope
            FROM (SELECT arrayJoin(resource_spans) AS of_resource FROM {database}.otel_traces_in)
        )
    )
);
