"""The amino-acid composition of a protein: what every vector has to beat, because it costs nothing."""

from __future__ import annotations

import numpy as np

AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"
_COLUMN_OF = np.full(256, len(AMINO_ACIDS))
_COLUMN_OF[[ord(letter) for letter in AMINO_ACIDS]] = range(len(AMINO_ACIDS))


def composition(sequences: list[str]) -> np.ndarray:
    """(n, 20) share of each amino acid in order ACDEFGHIKLMNPQRSTVWY; other letters count in the length only."""
    rows = np.zeros((len(sequences), len(AMINO_ACIDS) + 1), np.float32)
    for row, sequence in enumerate(sequences):
        letters = letter_numbers(sequence)
        rows[row] = np.bincount(letters, minlength=rows.shape[1]) / len(letters)
    return rows[:, :-1]


def letter_numbers(sequence: str) -> np.ndarray:
    """(residues,) place of each letter in AMINO_ACIDS, 20 for any other."""
    return _COLUMN_OF[np.frombuffer(sequence.encode("ascii"), np.uint8)]
