"""Every field of the configuration with its default and another value, by path; `BESIDE` is what must stand next to some."""

from typing import Any

from otel_eval.config.sampling import FAILURE_SIGNALS

GRPC, HTTP = "receivers.otlp.protocols.grpc", "receivers.otlp.protocols.http"
EXPORTER = {
    "types": (["traces", "logs", "metrics"], ["logs"]),
    "max_message_bytes": (4194304, 1024),
    "timeout": ("10s", "90s"),
    "retry_on_failure.initial_interval": ("1s", "50ms"),
    "retry_on_failure.multiplier": (1.5, 2.0),
    "retry_on_failure.randomization_factor": (0.5, 0.0),
    "retry_on_failure.max_interval": ("30s", "1h"),
    "retry_on_failure.max_elapsed_time": ("0s", "5m"),
    "sending_queue.num_consumers": (4, 1),
    "sending_queue.batch.flush_timeout": ("200ms", "0s"),
    "sending_queue.batch.min_size_bytes": (1048576, 1),
    "sending_queue.batch.max_items": (100000, 1),
}
OTLP = {
    "headers": ({}, {"X-Key": "a b"}),
    "compression": ("gzip", "none"),
    "tls.insecure": (False, True),
    "tls.insecure_skip_verify": (False, True),
    "tls.ca_file": (None, "/ca"),
    "tls.cert_file": (None, "/cert"),
    "tls.key_file": (None, "/key"),
    "tls.server_name_override": (None, "backend"),
}
PROTOCOL = {
    "tls.cert_file": ("/cert", "/cert2"),
    "tls.key_file": ("/key", "/key2"),
    "tls.client_ca_file": (None, "/ca"),
    "auth.token": (None, "t0ken"),
    "auth.filename": (None, "/tokens"),
}
TRACES = {
    "end_signal.span_name": (None, "the end"),
    "end_signal.attribute": (None, "over"),
    "quiet_period": ("2s", "100ms"),
    "idle_timeout": ("2m", "1h"),
    "max_age": ("30m", "2h"),
    "late_window": ("15m", "1m"),
    "max_open": (50_000, 1),
    "max_decided": (200_000, 1),
    "max_revisions": (3, 1),
}
SAMPLING = {
    "enabled": (True, False),
    "baseline.rate": (0.02, 1.0),
    "signals": (dict.fromkeys(FAILURE_SIGNALS, 1.0), {"refusal": 0.5}),
    "strata.by": (None, ["service.name"]),
    "strata.rates": (None, {"a/*": 0.5}),
    "strata.target_per_day": (None, 100),
    "strata.max_strata": (None, 10),
    "uncertainty.rate": (None, 0.5),
    "uncertainty.min_rate": (None, 0.1),
    "uncertainty.mix": (None, 1.0),
    "policies": ([], [{"name": "all", "type": "always_sample", "rate": 0.5}]),
    "cap.per_minute": (None, 60),
    "cap.per_hour": (None, 1000),
    "cap.per_day": (None, 10_000),
    "cap.window": (None, "10s"),
    "cap.baseline_share": (None, 0.5),
    "seed": ("otel-eval", "other"),
}
SCRUB = {
    "rules": (["email", "phone", "card", "iban", "ip", "national_id", "secrets"], ["email"]),
    "custom": ({}, {"order": "ORD-[0-9]{6}"}),
    "attributes.allow": ([], ["gen_ai.*"]),
    "attributes.deny": ([], ["*.secret"]),
    "forwarded": (False, True),
    "presidio": (False, False),  # true needs an extra that the tests do not have
}
JUDGING = {
    "enabled": (True, False),
    "evaluators": (None, ["latency", {"latency/slow": {"max": "5s"}}, {"rubric": "quality_4d"}]),
    "provider.api": ("anthropic", "openai"),
    "provider.api_key": (None, "t0ken"),
    "provider.base_url": (None, "http://127.0.0.1:8901"),
    "provider.timeout": ("1m", "5s"),
    "budget.usd_per_hour": (None, 1.5),
    "budget.usd_per_day": (20.0, 0.5),
    "budget.usd_per_month": (None, 100.0),
    "budget.calls_per_day": (20_000, 1),
    "budget.baseline_share": (0.3, 1.0),
    "limits.concurrency.start": (4, 8),
    "limits.concurrency.min": (1, 2),
    "limits.concurrency.max": (64, 16),
    "limits.max_rate_limit_share": (0.2, 1.0),
    "cache.ttl": ("720h", "1h"),
    "cache.max_entries": (100_000, 1),
    "cache.max_size_mib": (256, 1),
    "queue.max_size_mib": (1024, 1),
    "queue.synchronous": ("FULL", "NORMAL"),
    "queue.max_crashes": (10, 1),
    "workers": (16, 256),
    "deadline": ("6h", "1m"),
    "max_attempts": (5, 1),
    "freshness": ("now", "15m"),
    "rejudge_rate": (0.01, 0.0),
}
BESIDE: dict[str, dict[str, Any]] = {
    "sampling.strata": {"by": ["model"]},
    "sampling.uncertainty": {"rate": 0.1},
    "sampling.cap": {"per_minute": 10},
    "traces.end_signal": {"span_name": "end"},
}
HTTP_ENDPOINTS = {f"{kind}_endpoint": (None, f"http://{kind}:1") for kind in ("traces", "logs", "metrics")}
FIELDS: dict[str, tuple[Any, Any]] = {
    f"{GRPC}.endpoint": ("127.0.0.1:4317", "[::1]:0"),
    f"{GRPC}.max_recv_msg_size_mib": (64, 1024),
    f"{HTTP}.endpoint": ("127.0.0.1:4318", "0.0.0.0:80"),
    f"{HTTP}.max_request_body_size_mib": (64, 1),
    **{f"{protocol}.{key}": values for protocol in (GRPC, HTTP) for key, values in PROTOCOL.items()},
    "journal.directory": ("otel-eval-data/journal", "/var/lib/otel-eval"),
    "journal.max_size_mib": (10240, 1),
    "journal.sync": ("interval", "always"),
    **{f"exporters.{name}.{key}": values for name in ("debug", "otlp", "otlp_http") for key, values in EXPORTER.items()},
    **{f"exporters.{name}.{key}": values for name in ("otlp", "otlp_http") for key, values in OTLP.items()},
    "exporters.debug.verbosity": ("basic", "detailed"),
    "exporters.otlp.endpoint": (None, "backend:4317"),
    "exporters.otlp_http.endpoint": (None, "https://backend"),
    **{f"exporters.otlp_http.{key}": values for key, values in HTTP_ENDPOINTS.items()},
    **{f"traces.{key}": values for key, values in TRACES.items()},
    **{f"sampling.{key}": values for key, values in SAMPLING.items()},
    **{f"scrub.{key}": values for key, values in SCRUB.items()},
    **{f"judging.{key}": values for key, values in JUDGING.items()},
    "emit.mode": ("separate", "hold"),
    "emit.hold_timeout": ("30s", "5s"),
    "api.endpoint": ("127.0.0.1:4320", "[::1]:0"),
    **{f"api.{key}": values for key, values in PROTOCOL.items()},
    "telemetry.metrics": ("127.0.0.1:8888", None),
    "telemetry.health": ("127.0.0.1:13133", "localhost:1"),
    "telemetry.logs.level": ("info", "debug"),
    "telemetry.logs.format": ("text", "json"),
    "service.drain_timeout": ("10s", "0s"),
}
SENDING = {
    "exporters": {
        "debug": {},
        "otlp": {"endpoint": "backend:4317"},
        "otlp_http": {"endpoint": "https://backend"},
    }
}
