"""One reading of a trace, whatever wrote it.

`TraceView(spans, logs)` takes the raw spans and log records of one trace, in any order, and answers what a judge, a
signal or an analyst asks: the span tree, model calls, tool executions, retrieved documents, agents, session, user,
errors, feedback, what the user asked and what came out.

How it is read
- `tree.SpanTree` links spans and gives log records to them. `span.SpanReader` looks at one span: its attributes stay
  encoded until they are wanted; flattened attributes (`prefix.{i}.suffix`), span events and the log records that
  belong to the span are sources of the same standing.
- `fields` says where each convention keeps each field. A field is one list of places over all conventions, tried in
  order, since real spans mix conventions; a convention is one file there.
- `messages` and `parts` turn every vendor's message shape into one.
- `calls`, `tools`, `conversation` and `feedback` put together what several spans say about one thing: a model call
  that two instrumentations reported is one call. `joining` does the same over several traces.

Guarantees
- Nothing here raises, whatever a value is: what cannot be read is read as text, or not at all.
- Time and memory are linear in the bytes of the trace. A text over `values.MAX_TEXT` characters is cut and the cut is
  marked in the text; JSON over `values.MAX_JSON` characters is not decoded; nesting and list lengths are capped.
- Each field is read when it is first asked for, and once.

Limits: costs are what the spans say, nothing is computed from prices. A field that no convention carries is None.
"""
