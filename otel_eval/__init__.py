"""otel_eval: the pipeline hop between AI agents and their trace backend.

It forwards everything that it accepts, at once and without loss. The structure:
`cli` calls `service`, which builds the parts (`receivers`, `intake`, `exporters`, `operations`) over the
`journal`, the bytes of the protocol (`wire`), and the `config`. Imports point only in that direction.
"""

__version__ = "0.1.0"
