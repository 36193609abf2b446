"""`otel-eval inspect`: captured OTLP bodies as traces that a person can read, or as JSON.

`load` reads files, `document` makes the JSON, `render` the tree. Text from a capture is never trusted: `plain_text`
makes control characters visible, so that nothing in it can steer a terminal.
"""
