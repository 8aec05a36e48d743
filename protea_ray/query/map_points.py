"""The proteins of a map: the first id and description of each, and the labels that its ids have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from protea_ray.query.view import View
from protea_ray.store.keys import KeyIndex

LONGEST_DESCRIPTION = 500  # characters; what is longer is cut, and ends with ...


@dataclass(frozen=True)
class MapPoints:
    """The proteins of a map, n `keys`, with the first id and description of each.

    `all_ids` are those of every record of these proteins, and `owner` the point that each is of.
    """

    keys: pa.Array
    ids: Sequence[str]
    descriptions: pa.Array
    all_ids: pa.ChunkedArray
    owner: np.ndarray
    notes: tuple[str, ...]


def map_points(view: View, keys: pa.Array) -> MapPoints:
    """Read the records of `keys` in one pass over the proteins."""
    records = _records(view, keys)
    index = KeyIndex(keys)
    owner = index.order[index.find(records["key"])[0]]
    found, first = np.unique(owner, return_index=True)
    ids = np.array([f"key {key.hex()}" for key in keys.to_pylist()], object)
    ids[found] = records["id"].take(pa.array(first)).to_pylist()
    descriptions = np.full(len(keys), "", object)
    descriptions[found] = records["description"].take(pa.array(first)).to_pylist()
    names = pa.table({"owner": owner, "id": records["id"]}).group_by(["owner", "id"]).aggregate([])["owner"].to_numpy()
    several = int((np.bincount(names, minlength=len(keys)) > 1).sum())
    notes = [f"{several:,} proteins have several ids, of which the first is shown"] if several else []
    if without := len(keys) - len(found):
        notes.append(f"{without:,} vectors belong to no record of the proteins; their key is shown instead of an id")
    if cut := sum(len(text) > LONGEST_DESCRIPTION for text in descriptions):
        notes.append(f"{cut:,} descriptions are cut after {LONGEST_DESCRIPTION} characters")
    texts = pa.array(descriptions, pa.string())
    return MapPoints(keys, ids.tolist(), texts, records["id"], owner, tuple(notes))


def _records(view: View, keys: pa.Array) -> pa.Table:
    """Key, id and description of the records of `keys`; a long description is cut, so that many of them fit."""
    parts = []
    for batch in view.records_of(keys, ["id", "description"]):
        long = pc.greater(pc.utf8_length(batch["description"]), LONGEST_DESCRIPTION)
        start = pc.utf8_slice_codeunits(batch["description"], 0, LONGEST_DESCRIPTION)
        cut = pc.if_else(long, pc.binary_join_element_wise(start, "...", ""), start)
        parts.append(pa.record_batch({"key": batch["key"], "id": batch["id"], "description": cut}))
    schema = pa.schema([view.proteins.schema.field(name).with_metadata(None) for name in ("key", "id", "description")])
    return pa.Table.from_batches([part.cast(schema) for part in parts], schema)


def label_rows(rows: np.ndarray, owner: np.ndarray, points: int) -> tuple[np.ndarray, int]:
    """Row of the labels for each point, -1 for none, and how many points have ids with different rows.

    `rows` and `owner` (records,) have the row and the point of each record; the first record with a row decides.
    """
    has = np.flatnonzero(rows >= 0)
    of_point, first = np.unique(owner[has], return_index=True)
    found = np.full(points, -1, np.int64)
    found[of_point] = rows[has][first]
    differ = np.unique(owner[has][found[owner[has]] != rows[has]])
    return found, len(differ)
