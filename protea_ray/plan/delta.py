"""Keys wanted minus keys present: the records that a run still has to embed, and a count of every other record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True)
class Counts:
    """The records of one run by what becomes of them in one space; `records` is the sum of the other four."""

    records: int
    already_present: int  # the key was in the space before this run
    duplicate: int  # the key came earlier in this run
    rejected: int  # an earlier run rejected the key while embedding it into this space
    wanted: int  # the first record of its key, to be embedded now


def sum_of(parts: Sequence[Counts]) -> Counts:
    """The counts of records that were compared in parts."""
    return Counts(*(sum(counted) for counted in zip(*map(astuple, parts), strict=True)))


@dataclass(frozen=True)
class Delta:
    """The records to embed: `rows` (m,) int64 positions in input order, `masks` (m,) uint8 with bit s for space s."""

    rows: np.ndarray
    masks: np.ndarray
    counts: tuple[Counts, ...]


def delta(keys: pa.Array, present: Sequence[pa.Array], rejected: Sequence[pa.Array]) -> Delta:
    """Compare the keys of a run's records, in input order, with the keys that each space holds and has rejected.

    `keys` is (n,) of 16-byte binary. `present[s]` and `rejected[s]` hold the distinct keys of space s. Whole keys are
    compared, never a hash of them. At most 8 spaces share one pass, because a mask is one byte.

    >>> keys = pa.array([b"a", b"b", b"a", b"c"])
    >>> found = delta(keys, present=[pa.array([b"b"])], rejected=[pa.array([b"c"])])
    >>> found.rows.tolist(), found.masks.tolist()
    ([0], [1])
    >>> found.counts[0]
    Counts(records=4, already_present=1, duplicate=1, rejected=1, wanted=1)
    """
    first = _first_of_key(keys)
    masks = np.zeros(len(keys), dtype=np.uint8)
    counts: list[Counts] = []
    for space, (held, rejects) in enumerate(zip(present, rejected, strict=True)):
        is_held = _among(keys, held)
        is_first = first & ~is_held
        is_rejected = is_first & _among(keys, rejects)
        wanted = is_first & ~is_rejected
        masks |= wanted.astype(np.uint8) << space
        counts.append(
            Counts(
                records=len(keys),
                already_present=int(is_held.sum()),
                duplicate=int((~first & ~is_held).sum()),
                rejected=int(is_rejected.sum()),
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
    """(n,) bool: this key is in `held`. One call for the whole array, since each call of is_in builds its hash anew."""
    found = pc.call_function("is_in", [keys], pc.SetLookupOptions(value_set=held))
    return found.to_numpy(zero_copy_only=False)
