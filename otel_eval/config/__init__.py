"""The configuration: one YAML file, read into typed and frozen structs.

`models` holds the structs, whose fields are the YAML keys and whose defaults are the program's; `load` reads a file,
`environment` gives what applies without one. Key names are the Collector's where it has the thing. A mistake is a
ConfigError that names the file, the line, the key, the value and what is allowed.
"""

from otel_eval.config.load import Loaded as Loaded
from otel_eval.config.load import effective as effective
from otel_eval.config.load import exporter_class as exporter_class
from otel_eval.config.load import load as load
from otel_eval.config.models import Config as Config
from otel_eval.config.models import ExporterConfig as ExporterConfig
