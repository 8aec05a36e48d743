"""A sample of proteins, from a store or from files: the same seed draws the same proteins, in whatever order they come.

The sample of a store that grows keeps most of its proteins (see `query.drift.draw`).
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from protea_ray.query.drift import draw
from protea_ray.query.new_sequences import read_new
from protea_ray.query.reader import open_store
from protea_ray.sequences.records import KEY
from protea_ray.store.location import PROTEINS_TABLE
from protea_ray.store.sql import among
from protea_ray.store.tables import open_table


def from_store(store: str, count: int, seed: int) -> list[str]:
    """Letters of `count` distinct proteins of amino acids, in the order of the draw. Raises StoreError."""
    table = open_table(open_store(store).location.table(PROTEINS_TABLE))
    upper = table.to_table(columns=["key"], filter="sequence = upper(sequence)")["key"]  # 3Di is in lower case
    drawn = draw(pc.unique(upper).cast(KEY), count, seed)
    rows = table.to_table(columns=["key", "sequence"], filter=among("key", drawn.to_pylist()))
    letters = dict(zip(rows["key"].to_pylist(), rows["sequence"].to_pylist(), strict=True))
    return [letters[key] for key in drawn.to_pylist()]


def from_files(files: Sequence[str], count: int, seed: int) -> list[str]:
    """Letters of `count` distinct proteins of sequence files, in the order of the draw. Raises InputError.

    Records that are no proteins are left out.
    """
    letters = {protein.key: protein.letters for protein in read_new({}, files, "aa").proteins}
    return [letters[key] for key in draw(pa.array(list(letters), KEY), count, seed).to_pylist()]
