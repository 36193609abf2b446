"""What the model of a log remembers."""

from dataclasses import dataclass, field

from otel_eval.journal import Reader


@dataclass
class Written:
    """What was acknowledged; `damaged` when bytes of it were changed or its file was lost."""

    position: int
    end: int
    items: int
    body: bytes
    damaged: bool = False


@dataclass
class Place:
    """A reader, how far it has read, and the last two positions that it has stored, with the ends of frozen batches."""

    reader: Reader
    read_to: int
    stored: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)
