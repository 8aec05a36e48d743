"""Train a residue probe on `chains` made chains, and print the peak memory in MB: a program of its own.

The chains are of 400 residues and 320 half-precision columns, 256 kB each, and a block holds 8 of them.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import numpy as np

from protea_ray.evaluate import residue_reading
from protea_ray.evaluate.inputs import Input
from protea_ray.evaluate.protocol import Protocol
from protea_ray.evaluate.residue_probe import residue_counts
from protea_ray.evaluate.task import ALWAYS_TRAINS, RESIDUE, Task
from protea_ray.store.location import open_location
from protea_ray.store.tables import open_table

RESIDUES, WIDTH = 400, 320


def made_task(keys: list[bytes]) -> Task:
    """Of these chains, whose letters do not matter: one in ten is tested, one in ten for validation."""
    at = np.arange(len(keys))
    return Task(
        name="made",
        kind=RESIDUE,
        ids=tuple(key.hex() for key in keys),
        keys=tuple(keys),
        sequences=("A" * RESIDUES,) * len(keys),
        targets=np.random.default_rng(0).integers(0, 3, len(keys) * RESIDUES).astype(np.int8),
        names=("H", "E", "C"),
        fold=np.where(at % 10 == 0, 0, ALWAYS_TRAINS).astype(np.int8),
        group=at,
        related=np.zeros(len(keys), bool),
        split="given",
        validation=at % 10 == 1,
    )


def main(store: Path, space: str, chains: int) -> None:
    residue_reading.BLOCK_BYTES = 8 * RESIDUES * WIDTH * 4
    location = open_location(store)
    table = open_table(location.table(space))
    keys = sorted(table.to_table(columns=["key"])["key"].to_pylist())[:chains]
    given = Input(space, WIDTH, space=space, version=table.version, proteins=1)
    for _, counts in residue_counts(made_task(keys), given, location.uri, [0], Protocol(residue_epochs=1)):
        assert counts.sum() == len(keys) // 10 * RESIDUES
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
