"""OTLP as bytes: look at requests and change them without rebuilding them from objects.

A request body stays the bytes that arrived. `check` decides at the door whether it is a request; `lens` looks at it
through protobuf messages that declare only the fields that are wanted, parsed by protobuf's C runtime; `edit` joins,
splits and changes bodies; `otlp_json` turns the JSON encoding into the binary one at the door, so that everything
behind it sees one form.

Guarantees
- `check.inspect` accepts exactly what the generated OTLP classes parse, except that it does not ask strings to be
  UTF-8: SDKs cut texts inside a character, and a hop must not lose a request for that.
- No edit changes a byte of a span, log record or metric that it keeps, nor loses fields that are newer than us.
- Any bytes give a result or a PermanentError, in time linear in their number, and 64 MiB of them in less than 500 MiB
  of memory beside the body (fields are merged while checking, so a million empty submessages cost nothing).

Limits: messages nested deeper than 100 levels (30 to 48 nested AnyValues) are refused, as protobuf itself does;
a request of more than `check.MAX_ITEMS` items is refused as too large, and so is JSON of nothing but tiny values.
"""
