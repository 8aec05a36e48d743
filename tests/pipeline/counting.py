"""An encoder that writes down every protein it was given and every window that went through the model."""

from __future__ import annotations

import json
import os
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.encoder.encoder import Embedded, Encoder, Rejected
from protea_ray.pipeline.worker import EncoderSpec


@dataclass(frozen=True)
class CountingSpec(EncoderSpec):
    """What a run loads in place of the encoder; `log` is a folder with one file for every loaded model.

    `inner` is the spec whose encoder is counted.
    """

    log: Path = Path()
    inner: type[EncoderSpec] = EncoderSpec

    def load(self, recipes: Sequence[EmbeddingConfig]) -> Any:
        given = {f.name: getattr(self, f.name) for f in fields(EncoderSpec)}
        encoder = self.inner(**given).load(recipes)
        return CountingEncoder(encoder, self.log / f"{os.getpid()}-{uuid.uuid4().hex}.jsonl")


class CountingEncoder:
    def __init__(self, encoder: Encoder, log: Path) -> None:
        self._encoder, self._log = encoder, log

    def embed(self, sequences: Sequence[str]) -> Iterator[Embedded | Rejected]:
        before = self._encoder.stats.windows
        yield from self._encoder.embed(sequences)
        with self._log.open("a") as file:
            seen = {"sequences": list(sequences), "windows": self._encoder.stats.windows - before}
            file.write(json.dumps(seen) + "\n")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)


def forward_passes(log: Path, known: set[str]) -> tuple[Counter[str], int]:
    """How often each of the `known` sequences went in, and the windows of the calls that held only such.

    Canaries and the proteins that time the model are not among them.
    """
    proteins: Counter[str] = Counter()
    windows = 0
    for file in log.glob("*.jsonl"):
        for call in map(json.loads, file.read_text().splitlines()):
            mine = [s for s in call["sequences"] if s in known]
            assert len(mine) in (0, len(call["sequences"]))
            proteins.update(mine)
            windows += call["windows"] if mine else 0
    return proteins, windows
