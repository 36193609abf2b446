"""Configurations that are wrong, and what the message must say about each; used through `load` and the real command."""

from typing import NamedTuple


class Mistake(NamedTuple):
    """`says` are parts of the message; `text` is the file, which is called `c.yaml`."""

    name: str
    text: str | bytes
    says: tuple[str, ...]


def exporter(settings: str) -> str:
    return f"exporters:\n  otlp:\n    endpoint: backend:4317\n    {settings}\n"


GRPC = "receivers:\n  otlp:\n    protocols:\n      grpc:\n        "
LAUGHS = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'ha'] * 10)}]\n" for n in range(9))
MERGED_LAUGHS = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 9))

MISTAKES = [
    # the text
    Mistake("broken", "journal: {", ("c.yaml:1: not valid YAML",)),
    Mistake("tab", "journal:\n\tsync: always\n", ("c.yaml:2: not valid YAML", "'\\t'")),
    Mistake("not_utf8", b"journal: {directory: caf\xe9}", ("c.yaml: cannot be read: it is not UTF-8",)),
    Mistake("control_character", b"journal: {directory: a\x01b}", ("c.yaml: not valid YAML: special characters",)),
    Mistake("null_character", 'journal: {directory: "a\\0b"}', ("c.yaml:1: journal.directory", "character")),
    Mistake("half_a_character", 'journal: {directory: "\\ud800"}', ("c.yaml:1: journal.directory", "character")),
    Mistake(
        "list",
        "- journal",
        (
            "c.yaml: expected sections",
            "receivers, journal, traces, sampling, scrub, judging, emit, exporters, api, telemetry, service",
        ),
    ),
    Mistake("no_exporter", "exporters: {}", ("c.yaml:1: exporters: expected at least one exporter",)),
    Mistake("text", "journal", ("c.yaml: expected sections",)),
    Mistake("two_documents", "journal: {}\n---\njournal: {}\n", ("c.yaml:2: not valid YAML", "single document")),
    Mistake("key_twice", "journal: {}\nservice: {}\njournal: {}\n", ("c.yaml:3: journal is given twice",)),
    Mistake("inner_key_twice", "journal:\n  sync: always\n  sync: never\n", ("c.yaml:3: journal.sync is given twice",)),
    Mistake("list_as_key", "? [a]\n: b\n", ("c.yaml:1: a key must be a text",)),
    Mistake("mapping_as_key", "? {a: b}\n: c\n", ("c.yaml:1: a key must be a text",)),
    Mistake("python_tag", "journal: !!python/object/apply:os.abort []", ("c.yaml:1: journal: this tag is not known",)),
    Mistake("set_tag", "journal: !!set {sync}", ("c.yaml:1: journal: this tag is not known",)),
    Mistake("binary_tag", "journal: {sync: !!binary aGk=}", ("c.yaml:1: journal.sync: this tag is not known",)),
    Mistake("no_such_alias", "journal: {sync: *always}", ("c.yaml:1: not valid YAML: found undefined alias: quote a text",)),
    Mistake("no_such_tag", "journal: {sync: !always x}", ("c.yaml:1: journal.sync: this tag is not known", "quote")),
    Mistake("not_a_number", "journal: {max_size_mib: 0x_}", ("c.yaml: not valid YAML",)),
    Mistake("many_laughs", LAUGHS, ("c.yaml: more than 50000 values",)),
    Mistake("many_merged_laughs", MERGED_LAUGHS, ("c.yaml: more than 50000 values",)),
    Mistake("recursive", "journal: &a {sync: *a}", ("c.yaml: nested too deeply",)),
    Mistake("merges_itself", "journal: &a\n  <<: *a\n", ("c.yaml: nested too deeply",)),
    Mistake("merge_of_a_text", "journal: {<<: always}", ("c.yaml:1: not valid YAML", "merging")),
    Mistake("deep_lists", "journal: " + "[" * 2_000, ("c.yaml: nested too deeply",)),
    Mistake("deep_mappings", "{a: " * 2_000, ("c.yaml: nested too deeply",)),
    # keys
    Mistake(
        "unknown_section",
        "jurnal: {}",
        ("c.yaml:1: jurnal: unknown key; did you mean journal?", "allowed: api, emit, exporters,"),
    ),
    Mistake("unknown_key", "journal:\n  synk: always\n", ("c.yaml:2: journal.synk: unknown key; did you mean sync?",)),
    Mistake("unknown_deep_key", GRPC + "endpont: a:1\n", ("c.yaml:5: receivers.otlp.protocols.grpc.endpont", "endpoint?")),
    Mistake("unknown_exporter_key", exporter("tmeout: 5s"), ("c.yaml:4: exporters.otlp.tmeout", "did you mean timeout?")),
    Mistake("unknown_tls_key", exporter("tls: {insecur: true}"), ("exporters.otlp.tls.insecur", "insecure")),
    Mistake(
        "several_unknown_keys",
        "journal:\n  synk: always\n  dir: x\nservise: {}\n",
        ("c.yaml:2: journal.synk", "c.yaml:3: journal.dir: ", "c.yaml:4: servise: unknown key; did you mean service?"),
    ),
    Mistake("number_as_key", "1: {}", ("c.yaml:1: 1: unknown key",)),
    Mistake("unknown_protocol", "receivers: {otlp: {protocols: {http3: {}}}}", ("protocols.http3", "allowed: grpc, http")),
    # types
    Mistake("section_is_a_text", "journal: always", ("c.yaml:1: journal: Expected `mapping`, got `str`",)),
    Mistake("section_is_a_list", "journal: [always]", ("c.yaml:1: journal: Expected `mapping`, got `list`",)),
    Mistake("text_for_a_number", "journal: {max_size_mib: lots}", ("c.yaml:1: journal.max_size_mib: 'lots': Expected `int`",)),
    Mistake("float_for_a_number", "journal: {max_size_mib: 1.5}", ("c.yaml:1: journal.max_size_mib: 1.5: Expected `int`",)),
    Mistake("boolean_for_a_number", "journal: {max_size_mib: yes}", ("journal.max_size_mib: True: Expected `int`",)),
    Mistake("number_for_a_path", "journal: {directory: 5}", ("c.yaml:1: journal.directory: 5: expected a text", "quoted")),
    Mistake("text_for_a_boolean", exporter("tls: {insecure: maybe}"), ("c.yaml:4: exporters.otlp.tls.insecure: 'maybe'",)),
    Mistake("text_for_a_list", "exporters: {debug: {types: traces}}", ("exporters.debug.types: 'traces': Expected `list`",)),
    # values
    Mistake("too_small", "journal: {max_size_mib: 0}", ("c.yaml:1: journal.max_size_mib: 0: Expected `int` >= 1",)),
    Mistake("too_large", GRPC + "max_recv_msg_size_mib: 1025", ("c.yaml:5:", "1025: Expected `int` <= 1024")),
    Mistake("fraction", exporter("retry_on_failure: {randomization_factor: 1.5}"), ("randomization_factor: 1.5", "<= 1.0")),
    Mistake("no_number", exporter("retry_on_failure: {multiplier: .nan}"), ("retry_on_failure.multiplier: nan",)),
    Mistake("infinite", exporter("retry_on_failure: {multiplier: .inf}"), ("retry_on_failure.multiplier: inf",)),
    Mistake("enum", "journal: {sync: allways}", ("'allways'", "did you mean always? (allowed: always, interval, never)")),
    Mistake("level", "telemetry: {logs: {level: warn}}", ("telemetry.logs.level: 'warn'", "warning? (allowed: debug, error,")),
    Mistake("kind", "exporters: {debug: {types: [traces, spans]}}", ("debug.types.[1]: 'spans'", "allowed: logs, metrics,")),
    Mistake("kind_twice", "exporters: {debug: {types: [logs, logs]}}", ("exporters.debug.types: a kind is named twice",)),
    Mistake("no_kind", "exporters: {debug: {types: []}}", ("exporters.debug.types", "length >= 1")),
    Mistake("compression", exporter("compression: zstd"), ("c.yaml:4: exporters.otlp.compression: 'zstd'", "gzip, none")),
    Mistake("duration_without_unit", "service: {drain_timeout: 5}", ("service.drain_timeout: 5: expected a duration",)),
    Mistake("duration_of_nonsense", "service: {drain_timeout: 5 apples}", ("'5 apples': expected a duration such as 500ms",)),
    Mistake("negative_duration", "service: {drain_timeout: -5s}", ("service.drain_timeout: '-5s': expected a duration",)),
    Mistake("boolean_duration", "service: {drain_timeout: off}", ("service.drain_timeout: False: expected a duration",)),
    Mistake("endless_duration", f"service: {{drain_timeout: {'9' * 400}h}}", ("service.drain_timeout", "ten years")),
    Mistake("no_timeout", exporter("timeout: 0s"), ("c.yaml:4: exporters.otlp.timeout: '0s': expected a duration above 0",)),
    Mistake("no_wait", exporter("retry_on_failure: {initial_interval: 0}"), ("initial_interval: 0: expected a duration above",)),
    Mistake("no_port", GRPC + "endpoint: localhost", ("c.yaml:5:", "'localhost': expected host:port")),
    Mistake("url_to_listen_on", GRPC + "endpoint: http://a:1", ("c.yaml:5:", "expected host:port")),
    Mistake("port_too_large", GRPC + "endpoint: a:65536", ("c.yaml:5:", "expected host:port")),
    Mistake("port_of_other_digits", GRPC + "endpoint: a:٤٣", ("c.yaml:5:", "expected host:port")),
    Mistake("impossible_host", GRPC + "endpoint: a..b:1", ("c.yaml:5:", "expected host:port")),
    Mistake("long_host", GRPC + f"endpoint: {'a' * 64}:1", ("c.yaml:5:", "expected host:port")),
    Mistake("half_a_bracket", GRPC + "endpoint: '[::1:4317'", ("c.yaml:5:", "expected host:port")),
    Mistake("metrics_page", "telemetry: {metrics: 8888}", ("telemetry.metrics: 8888: expected host:port",)),
    Mistake("home", "journal: {directory: ~nobody_of_that_name/x}", ("journal.directory", "no such home directory")),
    Mistake("no_path", "journal: {directory: ''}", ("c.yaml:1: journal.directory: '': expected a path",)),
    # what belongs together
    Mistake("no_protocol", "receivers: {otlp: {protocols: {}}}", ("receivers.otlp.protocols: expected grpc, http or both",)),
    Mistake("empty_auth", GRPC + "auth:\n", ("receivers.otlp.protocols.grpc.auth: expected either token or filename",)),
    Mistake("two_auths", GRPC + "auth: {token: a, filename: b}", ("grpc.auth: expected either token or filename",)),
    Mistake("blank_token", GRPC + "auth: {token: ' '}", ("grpc.auth: the token is empty",)),
    Mistake("half_a_certificate", GRPC + "tls: {cert_file: a}", ("grpc.tls: missing required field `key_file`",)),
    Mistake("half_a_client", exporter("tls: {cert_file: a}"), ("exporters.otlp.tls: expected cert_file and key_file together",)),
    Mistake(
        "address_twice", "api:\n  endpoint: 127.0.0.1:4317\n", ("c.yaml:2: api.endpoint: 127.0.0.1:4317 is", "grpc.endpoint too")
    ),
    Mistake(
        "stratum",
        "sampling: {strata: {by: [a, b], rates: {x: 1}}}",
        ("c.yaml:1: sampling.strata: rates: 'x' is no stratum: expected",),
    ),
    # scrubbing and judging
    Mistake(
        "scrub_rule", "scrub: {rules: [email, emial]}", ("c.yaml:1: scrub.rules.[1]: 'emial'", "mean email? (allowed: card,")
    ),
    Mistake("scrub_pattern", "scrub: {custom: {order: '(?=a)b'}}", ("c.yaml:1: scrub.custom.order", "expression of RE2")),
    Mistake("scrub_key", "scrub: {attribute: {deny: [a]}}", ("scrub.attribute: unknown key; did you mean attributes?",)),
    Mistake("judging_key", "judging:\n  budgets: {}\n", ("c.yaml:2: judging.budgets: unknown key; did you mean budget?",)),
    Mistake("judging_api", "judging: {provider: {api: antropic}}", ("judging.provider.api: 'antropic'", "anthropic? (allowed: ")),
    Mistake("judging_key_number", "judging: {provider: {api_key: 5}}", ("judging.provider.api_key: expected a text",)),
    Mistake("judging_no_money", "judging: {budget: {usd_per_day: 0}}", ("c.yaml:1: judging.budget.usd_per_day: 0", "> 0")),
    Mistake("judging_share", "judging: {budget: {baseline_share: 30}}", ("judging.budget.baseline_share: 30", "<= 1.0")),
    Mistake(
        "judging_start", "judging: {limits: {concurrency: {start: 99}}}", ("limits.concurrency: expected min <= start <= max",)
    ),
    Mistake(
        "judging_evaluators",
        "judging: {evaluators: latency}",
        ("c.yaml:1: judging.evaluators: Expected `list | null`, got `str`",),
    ),
    Mistake(
        "judging_url", "judging: {provider: {base_url: localhost:1}}", ("c.yaml:1: judging.provider: base_url: expected http",)
    ),
    Mistake(
        "judging_half_a_url", "judging: {provider: {base_url: 'http://[::1'}}", ("judging.provider: base_url: expected http",)
    ),
    Mistake(
        "judging_password", "judging: {provider: {base_url: 'http://me:pw@a'}}", ("base_url: expected", "without a password")
    ),
    Mistake("judging_deadline", "judging: {deadline: 0s}", ("judging.deadline: '0s': expected a duration above 0",)),
    Mistake(
        "judging_sync", "judging: {queue: {synchronous: OFF}}", ("judging.queue.synchronous: False", "allowed: FULL, NORMAL")
    ),
    # holding
    Mistake("emit_mode", "emit: {mode: held}", ("c.yaml:1: emit.mode: 'held'", "did you mean hold? (allowed: hold, separate)")),
    Mistake("emit_key", "emit: {hold_time: 5s}", ("c.yaml:1: emit.hold_time: unknown key; did you mean hold_timeout?",)),
    Mistake("emit_no_time", "emit: {hold_timeout: 0s}", ("c.yaml:1: emit.hold_timeout: '0s': expected a duration above 0",)),
    Mistake("hold_without_judging", "judging: {enabled: false}\nemit: {mode: hold}", ("c.yaml:2: emit.mode: hold needs",)),
    Mistake("hold_without_sampling", "emit: {mode: hold}\nsampling: {enabled: false}", ("c.yaml:1: emit.mode: hold needs",)),
    Mistake("hold_and_cap", "emit: {mode: hold}\nsampling: {cap: {per_hour: 5}}", ("c.yaml:1: emit.mode: hold cannot", "cap")),
    Mistake("short_hold", "emit: {mode: hold, hold_timeout: 2s}", ("emit.hold_timeout: expected more than traces.quiet_period",)),
    # exporters
    Mistake("exporter_type", "exporters: {otpl: {}}", ("c.yaml:1: exporters.otpl: unknown exporter type 'otpl'", "otlp? (")),
    Mistake("exporter_id", "exporters: {otlp/: {}}", ("c.yaml:1: exporters.otlp/: expected `type` or `type/name`",)),
    Mistake("exporter_id_with_path", "exporters: {otlp/../x: {}}", ("expected `type` or `type/name`",)),
    Mistake("long_exporter_id", f"exporters: {{otlp/{'x' * 96}: {{}}}}", ("at most 100",)),
    Mistake("no_endpoint", "exporters:\n  otlp:\n", ("c.yaml:2: exporters.otlp: missing required field `endpoint`",)),
    Mistake("no_http_endpoint", "exporters: {otlp_http: {}}", ("exporters.otlp_http: expected endpoint",)),
    Mistake("exporter_is_a_list", "exporters: [otlp]", ("c.yaml:1: exporters: Expected `mapping`, got `list`",)),
    Mistake("header_is_a_number", exporter("headers: {x-key: 5}"), ("c.yaml:4: exporters.otlp.headers.x-key: expected a text",)),
    Mistake("header_with_a_line_end", exporter('headers: {x-key: "a\\n"}'), ("exporters.otlp.headers.x-key", "line end")),
    Mistake("header_name", exporter("headers: {x key: a}"), ("c.yaml:4: exporters.otlp.headers: Expected `str` matching",)),
    Mistake("own_receiver", "exporters: {otlp: {endpoint: localhost:4317}}", ("exporters.otlp.endpoint", "own receiver")),
    Mistake("own_http", "exporters: {otlp_http: {endpoint: 'http://127.0.0.1:4318'}}", ("exporters.otlp_http", "own receiver")),
    Mistake(
        "embeded", "exporters: {clickhouse: {endpoint: embeded}}", ("c.yaml:1: exporters.clickhouse: endpoint: expected emb",)
    ),
    Mistake(
        "cluster", "exporters: {clickhouse: {cluster_name: a}}", ("exporters.clickhouse: cluster_name: only with an endpoint",)
    ),
    Mistake("own_password", "exporters: {clickhouse: {password: a}}", ("exporters.clickhouse: password: only with an endpoint",)),
    # variables
    Mistake("no_variable", "journal:\n  sync: ${env:NOT_SET_ANYWHERE}\n", ("c.yaml:2: journal.sync: the environment variable",)),
    Mistake("old_variable", "journal: {sync: '${SYNC}'}", ("c.yaml:1: journal.sync", "${env:NAME}", "$$")),
    Mistake("unclosed_variable", "journal: {sync: '${env:SYNC'}", ("c.yaml:1: journal.sync", "${env:NAME}")),
    Mistake("nested_variable", "journal: {sync: '${env:A:-${env:B}}'}", ("c.yaml:1: journal.sync", "${env:NAME}")),
]
