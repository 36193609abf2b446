"""Which traces to judge. So far: the quality signals that a trace shows by itself."""
