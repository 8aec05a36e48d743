"""Keys wanted minus keys present: what a run still has to embed, and where every other record went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True)
class Counts:
    """Where the records of one run went, for one space. Units: records."""

    records: int
    already_present: int  # the key was in the space before this run
    duplicate: int  # the key came earlier in this run
    rejected: int  # an earlier run rejected the key while embedding into this space
    wanted: int  # first of its key, to be embedded now


@dataclass(frozen=True)
class Delta:
    """`rows` (m,) int64 positions of the records to embed, in input order; `masks` (m,) uint8, bit s = space s."""

    rows: np.ndarray
    masks: np.ndarray
    counts: tuple[Counts, ...]


def delta(keys: pa.Array, present: Sequence[pa.Array], rejected: Sequence[pa.Array]) -> Delta:
    """Compare the keys of a run's records, in input order, with what each space holds and refused.

    `keys` is (n,) of 16-byte binary; `present[s]` and `rejected[s]` hold the distinct keys of space s. Whole keys
    are compared, never a hash of them. At most 8 spaces share one pass (the masks are bytes).
    """
    first = _first_of_key(keys)
    masks = np.zeros(len(keys), dtype=np.uint8)
    counts = []
    for space, (held, refused) in enumerate(zip(present, rejected, strict=True)):
        is_held = _among(keys, held)
        is_first = first & ~is_held
        is_refused = is_first & _among(keys, refused)
        wanted = is_first & ~is_refused
        masks |= wanted.astype(np.uint8) << space
        counts.append(
            Counts(
                records=len(keys),
                already_present=int(is_held.sum()),
                duplicate=int((~first & ~is_held).sum()),
                rejected=int(is_refused.sum()),
                wanted=int(wanted.sum()),
            )
        )
    rows = np.flatnonzero(masks)
    return Delta(rows, masks[rows], tuple(counts))


def _first_of_key(keys: pa.Array) -> np.ndarray:
    """(n,) bool: this record is the earliest of its key."""
    table = pa.table({"key": keys, "row": np.arange(len(keys), dtype=np.int64)})
    earliest = table.group_by("key").aggregate([("row", "min")])["row_min"]
    first = np.zeros(len(keys), dtype=bool)
    first[earliest.to_numpy()] = True
    return first


def _among(keys: pa.Array, held: pa.Array) -> np.ndarray:
    """(n,) bool; one call over the whole array, since is_in builds its hash anew on every call."""
    found = pc.call_function("is_in", [keys], pc.SetLookupOptions(value_set=held))
    return found.to_numpy(zero_copy_only=False)
