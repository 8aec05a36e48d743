"""Secondary structure, a task per residue: helix, strand or coil of chains of the PDB, as FLIP gives them.

FLIP's split and mask (Dallago et al. 2021, doi:10.1101/2021.11.09.467890; states from NetSurfP-2.0): residues that were
not resolved are left out. Chains of the training side are drawn: a few hundred hold tens of thousands of residues.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from protea_ray.errors import InputError
from protea_ray.evaluate.composition import AMINO_ACIDS, composition, letter_numbers

STATES = "HEC"
WINDOW = 15  # residues of the baseline that sees neighbours


@dataclass(frozen=True)
class Chains:
    """Some chains, end to end.

    `state` (residues,) is the place of each residue's state in STATES, -1 where it was not resolved; `train`
    (residues,) is True for residues of training chains.
    """

    sequences: list[str]
    state: np.ndarray
    train: np.ndarray

    def rows(self, train: bool) -> np.ndarray:
        """Numbers of the resolved residues of one side."""
        return np.flatnonzero((self.state >= 0) & (self.train == train))


def read_chains(folder: Path, train_chains: int, seed: int = 0) -> Chains:
    """All test chains and `train_chains` of the training side, drawn; raises InputError for files that do not fit."""
    entries = {name: _entries(folder / f"{name}.fasta.gz") for name in ("sequences", "sampled", "mask")}
    sides = {id: header for id, (header, _) in entries["sampled"].items()}
    training = sorted(id for id, header in sides.items() if "SET=train" in header and "VALIDATION=False" in header)
    drawn = np.random.default_rng(seed).permutation(len(training))[:train_chains]
    chosen = [training[i] for i in sorted(drawn)] + sorted(id for id in sides if "SET=test" in sides[id])
    parts: list[np.ndarray] = []
    for id in chosen:
        letters, states, mask = (entries[name][id][1] for name in ("sequences", "sampled", "mask"))
        if not len(letters) == len(states) == len(mask):
            raise InputError(
                f"{folder}: {id} has {len(letters)} letters, {len(states)} states, {len(mask)} in the mask"
            )
        parts.append(
            np.array([STATES.index(s) if m == "1" else -1 for s, m in zip(states, mask, strict=True)], np.int64)
        )
    sizes = [len(part) for part in parts]
    train = np.repeat(["SET=train" in sides[id] for id in chosen], sizes)
    return Chains([entries["sequences"][id][1] for id in chosen], np.concatenate(parts), train)


def _entries(path: Path) -> dict[str, tuple[str, str]]:
    """(rest of the header, text) by id of a FASTA file whose text is letters, states or digits."""
    try:
        text = gzip.decompress(path.read_bytes()).decode("ascii")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    found: dict[str, tuple[str, str]] = {}
    for entry in text.split(">")[1:]:
        header, *lines = entry.split("\n")
        id, _, rest = header.partition(" ")
        found[id] = rest, "".join(lines)
    return found


def letter_features(sequences: list[str]) -> np.ndarray:
    """(residues, 40): which amino acid a residue is, and the composition of its protein. What `composition` is here."""
    rows = []
    for sequence, share in zip(sequences, composition(sequences), strict=True):
        rows.append(np.concatenate([_one_hot(letter_numbers(sequence)), np.tile(share, (len(sequence), 1))], axis=1))
    return np.concatenate(rows).astype(np.float16)


def window_features(sequences: list[str]) -> np.ndarray:
    """(residues, 300): the amino acids of 15 residues around each (Qian and Sejnowski 1988), zeros past the ends."""
    half = WINDOW // 2
    rows = []
    for sequence in sequences:
        numbers = np.pad(letter_numbers(sequence), half, constant_values=len(AMINO_ACIDS))
        around = np.lib.stride_tricks.sliding_window_view(numbers, WINDOW)
        rows.append(_one_hot(around).reshape(len(sequence), -1))
    return np.concatenate(rows).astype(np.float16)


def _one_hot(numbers: np.ndarray) -> np.ndarray:
    """(..., 20) of numbers 0 to 20, where 20 is any other letter."""
    return np.eye(len(AMINO_ACIDS) + 1, dtype=np.float32)[numbers][..., :-1]
