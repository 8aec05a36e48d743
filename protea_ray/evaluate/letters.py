"""What every residue's vector has to beat: its letter, the letters around it, and random numbers. All cost nothing."""

from __future__ import annotations

import numpy as np

from protea_ray.evaluate.composition import AMINO_ACIDS, composition, letter_numbers

WINDOW_RESIDUES = 15  # of which the middle one is judged; its neighbours up to seven away


def letter_rows(sequence: str) -> np.ndarray:
    """(residues, 40) float32: which amino acid a residue is, and the composition of its protein."""
    share = np.tile(composition([sequence]), (len(sequence), 1))
    return np.concatenate([_one_hot(letter_numbers(sequence)), share], axis=1)


def window_rows(sequence: str) -> np.ndarray:
    """(residues, 300) float32: the amino acids of 15 residues around each, zeros past the ends.

    It is the input of Qian and Sejnowski 1988 (doi:10.1016/0022-2836(88)90564-5), with 15 residues for their 13.
    """
    half = WINDOW_RESIDUES // 2
    numbers = np.pad(letter_numbers(sequence), half, constant_values=len(AMINO_ACIDS))
    around = np.lib.stride_tricks.sliding_window_view(numbers, WINDOW_RESIDUES)
    return _one_hot(around).reshape(len(sequence), -1)


def random_rows(key: bytes, residues: int, width: int) -> np.ndarray:
    """(residues, width) float32 from N(0, 1): row i follows from the protein's key, i and the width alone."""
    return np.random.default_rng(list(key)).standard_normal((residues, width), np.float32)


def _one_hot(numbers: np.ndarray) -> np.ndarray:
    """(..., 20) of numbers 0 to 20, where 20 is any other letter."""
    return np.eye(len(AMINO_ACIDS) + 1, dtype=np.float32)[numbers][..., :-1]
