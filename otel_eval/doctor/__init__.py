"""What keeps a configuration from working here, found without sending anything: `otel-eval doctor`.

`examining.examine` runs all checks at once, each in a limited time. A check is one file with one function that gives
findings; a finding is one line in plain words: ok, a warning (it works, but look at it), or a problem with what to do.

What it promises
- No backend gets data: to OTLP backends a connection is made, with its TLS handshake, and a HEAD request asks HTTP ones
  for their clock. ClickHouse is asked about its version, tables and grants, the judge for the list of its models, which
  costs nothing. Nothing is made but a file without a name in the journal's directory, if that exists.
- No secret is shown. Texts of servers come through the same filters as in a hop.
- A running hop is not disturbed, and is told from another program that has its ports.

Limits: each check has its time, but resolving names takes as long as the system lets it. What only data can show, such
as a token that may connect and not write, is not found; nor is a backend behind a proxy that gRPC would use.
"""

from otel_eval.doctor.finding import Finding as Finding
from otel_eval.doctor.finding import Status as Status
