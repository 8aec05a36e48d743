"""Random vectors: what the probes make of numbers that know nothing of a protein, at the same width."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def random_vectors(keys: Sequence[bytes], width: int) -> np.ndarray:
    """(n, width) float32 from N(0, 1), each row drawn from its protein's key, so wherever the protein stands.

    By Box and Muller (1958) from the bits of PCG64, which numpy promises to keep, unlike its normal distribution. The
    arithmetic is in float64, so that the last bits of a machine's logarithm are rounded away.
    """
    pairs = -(-width // 2)
    rows = np.empty((len(keys), 2, pairs), np.uint64)
    for row, key in zip(rows, keys, strict=True):
        row[:] = np.random.PCG64(int.from_bytes(key, "big")).random_raw(2 * pairs).reshape(2, pairs)
    radius = np.sqrt(-2 * np.log(((rows[:, 0] >> np.uint64(11)) + 1) * 2.0**-53))  # of (0, 1]
    angle = 2 * np.pi * ((rows[:, 1] >> np.uint64(11)) * 2.0**-53)
    both = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return both[:, :width].astype(np.float32)
