"""Random vectors by key, and the composition by hand."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from protea_ray.evaluate.composition import AMINO_ACIDS, composition
from protea_ray.evaluate.controls import random_vectors
from tests.store import build

KEYS = [build.key(n) for n in range(400)]


def test_a_vector_follows_from_its_key_and_not_from_its_place() -> None:
    whole = random_vectors(KEYS, 33)
    assert (whole.dtype, whole.shape) == (np.float32, (400, 33))
    assert np.array_equal(random_vectors(KEYS[::-1][:7], 33), whole[::-1][:7])
    assert len(np.unique(whole)) > 13_000  # of 13,200


def test_the_numbers_are_normal_and_unrelated() -> None:
    """Moments of N(0, 1), a distance from its distribution function below 1.95 / sqrt(n), and no correlation."""
    stats = pytest.importorskip("scipy.stats")
    drawn = random_vectors(KEYS, 320).astype(np.float64)
    assert abs(drawn.mean()) < 4 / np.sqrt(drawn.size)
    assert abs(drawn.std() - 1) < 4 / np.sqrt(2 * drawn.size)
    assert stats.kstest(drawn.ravel(), "norm").statistic < 1.95 / np.sqrt(drawn.size)
    between = np.asarray(np.corrcoef(drawn))[np.triu_indices(400, 1)]
    assert np.abs(between).max() < 6 / np.sqrt(320)
    assert np.abs(np.asarray(np.corrcoef(drawn.T))[np.triu_indices(320, 1)]).max() < 6 / np.sqrt(400)
    assert abs(np.mean(drawn[:, :160] * drawn[:, 160:])) < 4 / np.sqrt(drawn.size / 2)


def test_the_same_on_every_machine() -> None:
    """From the bits of PCG64, with Python's own mathematics: cos for the first half, sin for the second."""
    import math

    key = hashlib.sha256(b"MKV").digest()[:16]
    bits = [int(n) for n in np.random.PCG64(int.from_bytes(key, "big")).random_raw(4)]
    expected = []
    for part in (math.cos, math.sin):
        for first, second in ((bits[0], bits[2]), (bits[1], bits[3])):
            radius = math.sqrt(-2 * math.log(((first >> 11) + 1) / 2**53))
            expected.append(radius * part(2 * math.pi * (second >> 11) / 2**53))
    assert random_vectors([key], 4)[0].tolist() == pytest.approx(expected, rel=1e-6)
    assert random_vectors([key], 3)[0].tolist() == pytest.approx(expected[:3], rel=1e-6)


def test_composition_by_hand() -> None:
    """AACX: A in 2 of 4 letters, C in 1; X is no amino acid but counts in the length."""
    found = composition(["AACX", "WW"])
    shares = dict(zip(AMINO_ACIDS, found[0].tolist(), strict=True))
    assert {letter: share for letter, share in shares.items() if share} == {"A": 0.5, "C": 0.25}
    assert found[1, AMINO_ACIDS.index("W")] == 1
    assert found.shape == (2, 20)
