"""A run whose GPUs are numbers, as a program: FASTA, STORE, and fields of `run` as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from protea_ray.cluster.progress import LineReporter
from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.config.run import run_config
from protea_ray.pipeline.embed import embed
from tests.toy import ToySpec

SECONDS_PER_PROTEIN = 0.2


@dataclass(frozen=True)
class NumberedGpuSpec(ToySpec):
    """A toy encoder on a GPU that is a number of Ray's: it takes its time, and notes the node that it runs on."""

    def load(self, recipes: Sequence[EmbeddingConfig]) -> Any:
        """An encoder that sleeps for each protein."""
        return _Slow(super().load(recipes))

    @property
    def device_name(self) -> str:
        """Not a device."""
        return "a number"


class _Slow:
    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def embed(self, sequences: Sequence[str]) -> Iterator[Any]:
        time.sleep(SECONDS_PER_PROTEIN * len(sequences))
        return self._encoder.embed(sequences)


def main(fasta: str, store: str, options: str) -> None:
    """Run, and print the summary's actors and the GPUs that the cluster had at the end."""
    config = run_config({"model": "small", "run": {"device": "cuda", "unit_seconds": 4.0, **json.loads(options)}})
    summary = embed([fasta], store, config, LineReporter(), NumberedGpuSpec)
    said = {"stored": summary.spaces[0].stored, "actors": summary.actors, "gpus": ray.cluster_resources().get("GPU", 0)}
    print("said:", json.dumps(said), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
