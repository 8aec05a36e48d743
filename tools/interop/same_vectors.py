"""One number for vectors by id, so that two programs can say whether they hold the same ones. Needs numpy alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np


def same_vectors(ids: Iterable[str], vectors: Iterable[np.ndarray]) -> str:
    """SHA-256 of the ids and their vectors in single precision, in the order of the ids.

    Half precision widens to single precision exactly, so programs that widen have the same number.
    """
    held = hashlib.sha256()
    for id, vector in sorted(zip(ids, vectors, strict=True), key=lambda pair: pair[0]):
        held.update(id.encode() + b"\0" + np.ascontiguousarray(vector, "<f4").tobytes())
    return held.hexdigest()
