"""What a store and its runs have to show, as plain values. A figure that a run did not record is None, never 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Flow:
    """Where the records of one run went in one space. Units: records; `records` is the sum of the others."""

    space: str
    records: int
    stored: int
    duplicate: int
    rejected: int
    already_present: int


@dataclass(frozen=True)
class RatePoint:
    """Work done between two moments: `seconds` since the run began (the end of the interval), residues/s in it."""

    seconds: float
    residues_per_second: float


@dataclass(frozen=True)
class StageTime:
    """One stage of a run: seconds since the command began, and how long it took. Stages may overlap."""

    name: str
    begins: float
    seconds: float


@dataclass(frozen=True)
class Packing:
    """What the model computed: `residues` of proteins, `tokens` with special tokens and overlaps, `padding` on top."""

    residues: int
    tokens: int
    padding: int
    packs: int


@dataclass(frozen=True)
class RunFacts:
    """One run: what, when, who and on what. `flows` are empty for a kind of run that accounts for no records."""

    run: str
    kind: str  # embed, reembed, import, ...
    finished: datetime
    seconds: float | None
    model: str | None
    trained: bool | None
    device: str | None
    actors: int | None
    residues: int | None
    flows: tuple[Flow, ...]
    rate: tuple[RatePoint, ...]
    stages: tuple[StageTime, ...]
    packing: Packing | None
    peak_memory: Mapping[str, int]  # bytes by process: driver, actor (the largest one), gpu
    config: Mapping[str, Any]  # field -> value, as run.yaml has them
    digests: Mapping[str, str]  # of weights, tokenizer and recipe
    versions: Mapping[str, str]  # of protea_ray and its libraries


@dataclass(frozen=True)
class LengthBin:
    """Proteins of `first` to `last` residues; `last` None: and above."""

    first: int
    last: int | None
    proteins: int


@dataclass(frozen=True)
class RejectExample:
    """One rejected record: its id, where it stands in which file (line 0: unknown), and what was wrong in words."""

    id: str
    file: str
    line: int
    detail: str


@dataclass(frozen=True)
class RejectGroup:
    """All records rejected for one reason, with the first few of them."""

    reason: str
    meaning: str
    count: int
    examples: tuple[RejectExample, ...]


@dataclass(frozen=True)
class StoreFacts:
    """A store at one moment: its runs oldest first, its proteins by length, its rejects by reason."""

    uri: str
    read: datetime
    proteins: int
    residues: int
    lengths: tuple[LengthBin, ...]
    longest: int
    rejects: tuple[RejectGroup, ...]
    runs: tuple[RunFacts, ...]
