"""Proteins that the acceptance and the benchmarks draw from: those of a file, or synthetic ones, always the same."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import pyarrow as pa

from protea_ray.sequences.inputs import Columns, expand, scan
from protea_ray.sequences.read import read_part
from protea_ray.sequences.synth import synthesise

SYNTHETIC = 6000  # 60 microseconds each
LETTERS = "ACDEFGHIKLMNPQRSTVWY"
_LENGTHS = 16  # different ones in a mixed sample: some kernels of CUDA are planned anew for each, 80 ms


def accepted(source: str) -> Iterator[pa.RecordBatch | pa.Table]:
    """Every accepted protein of an input of `protea-ray embed`, in batches with `sequence` and `length`."""
    columns = Columns()
    for found in expand([source]):
        for part in scan(found, columns, 1 << 40).parts:
            for batch in read_part(part, columns, "", ""):
                yield batch.proteins


def pool(source: str | None) -> list[str]:
    """Every different protein of `source`, or SYNTHETIC ones with the lengths of UniProt."""
    if source is None:
        return [protein.sequence for protein in synthesise(SYNTHETIC, seed=0)]
    return list(dict.fromkeys(s for batch in accepted(source) for s in batch["sequence"].to_pylist()))


def sample(proteins: Sequence[str], count: int, longest: int, seed: int = 0) -> list[str]:
    """`count` proteins in a random order, each cut to `longest` residues; fewer where there are no more."""
    chosen = random.Random(seed).sample(list(proteins), min(count, len(proteins)))
    return list(dict.fromkeys(s[:longest] for s in chosen))


def of_lengths(lengths: Sequence[int], seed: int = 0, letters: str = LETTERS) -> list[str]:
    """One random protein for each length."""
    draw = random.Random(seed)
    return ["".join(draw.choices(letters, k=length)) for length in lengths]


def mixed(proteins: Sequence[str], count: int, longest: int, lengths: Sequence[int]) -> list[str]:
    """`count` proteins cut to few different lengths, then one with unknown residues for each of `lengths`."""
    chosen = sample(proteins, count, longest)
    allowed = sorted(
        random.Random(1).sample(sorted({len(s) for s in chosen}), min(_LENGTHS, len({len(s) for s in chosen})))
    )
    cut = [s[: max([n for n in allowed if n <= len(s)], default=len(s))] for s in chosen]
    return list(dict.fromkeys([*cut, *of_lengths(lengths, letters=LETTERS + "X")]))
