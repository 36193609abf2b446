"""The spans that the Anthropic SDK makes by itself: GenAI basics, no content."""

from otel_eval.traces.fields.places import Fields, at, word_list

FIELDS: Fields = {"finish_reasons": [at("anthropic.message.stop_reason", word_list)]}
