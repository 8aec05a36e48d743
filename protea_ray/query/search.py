"""Nearest neighbours by cosine, per protein: exact, unless a vector index may be used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from protea_ray.errors import ConfigError
from protea_ray.query.view import View, matrix
from protea_ray.store.keys import KeyIndex, key_array

SAFE_NORM = 1e-12
EXACT = {"use_index": False}
BY_INDEX = {"refine_factor": 10}  # ten times as many rows by their codes, ranked anew by their vectors


@dataclass(frozen=True)
class Neighbours:
    """Keys and cosine similarities, best first."""

    keys: list[bytes]
    similarity: list[float]


def pooling_of(view: View, pooling: str | None) -> str:
    """The column to search: `pooling`, else mean, else the first; raises ConfigError that lists those that exist."""
    have = view.poolings
    if pooling is None:
        return "mean" if "mean" in have or not have else have[0]
    if pooling not in have:
        raise ConfigError(
            f"space {view.pin.space} has no pooling {pooling!r}; it has {', '.join(have) or 'none'}", where="pooling"
        )
    return pooling


def nearest(
    view: View,
    key: bytes,
    queries: np.ndarray,
    k: int,
    pooling: str,
    allowed: KeyIndex | None,
    approximate: bool = False,
) -> Neighbours:
    """The `k` proteins whose best row is most similar to the best of `queries` (c, D); `key` itself is left out.

    `approximate` lets Lance use the column's index, if it has one; a filter is always applied exactly.
    """
    how = BY_INDEX if approximate else EXACT
    best: dict[bytes, float] = {}
    for query in queries:
        if allowed is None:
            scan = _search_space(view, query, key, k, pooling, how)
        else:
            scan = _compare_allowed(view, query, key, pooling, allowed)
        for other, similarity in scan:
            best[other] = max(best.get(other, -2.0), similarity)
    ranked = sorted(best.items(), key=lambda item: (-item[1], item[0]))[:k]
    return Neighbours([n for n, _ in ranked], [s for _, s in ranked])


def _search_space(
    view: View, query: np.ndarray, key: bytes, k: int, pooling: str, how: dict[str, Any]
) -> list[tuple[bytes, float]]:
    """Search with Lance, for four times as many rows until `k` other proteins are found: one may hold many chunks."""
    rows, asked = view.vectors.count_rows(), k + 1
    while True:
        search = {"column": pooling, "q": query, "k": min(asked, rows), "metric": "cosine", **how}
        table = view.vectors.scanner(columns=["key", "_distance"], nearest=search).to_table()
        found: dict[bytes, float] = {}
        for other, distance in zip(table["key"].to_pylist(), table["_distance"].to_pylist(), strict=True):
            if other != key:
                found.setdefault(other, 1.0 - distance)
        if len(found) >= k or asked >= rows:
            return list(found.items())[:k]
        asked *= 4


def _compare_allowed(
    view: View, query: np.ndarray, key: bytes, pooling: str, allowed: KeyIndex
) -> list[tuple[bytes, float]]:
    """Similarity of every allowed protein's best row, by one pass over the space whatever the filter lets through."""
    wanted = query.astype(np.float32) / max(float(np.linalg.norm(query.astype(np.float32))), SAFE_NORM)
    found: dict[bytes, float] = {}
    for batch in view.vectors.to_batches(columns=["key", pooling]):
        rows = np.flatnonzero(allowed.contains(batch.column("key")))
        keys = batch.column("key").take(pa.array(rows)).to_pylist()
        similar = _cosine(matrix(batch.column(pooling))[rows], wanted)
        for other, similarity in zip(keys, similar.tolist(), strict=True):
            if other != key:
                found[other] = max(found.get(other, -2.0), similarity)
    return list(found.items())


def _cosine(rows: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """(n,) cosine of each of `rows` (n, D) with `unit` (D,), a vector of length 1."""
    wide = rows.astype(np.float32)
    return wide @ unit / np.maximum(np.linalg.norm(wide, axis=1), SAFE_NORM)


def allowed_keys(view: View, where: str | None) -> KeyIndex | None:
    """Keys of the proteins that match a SQL filter; None when there is none."""
    return None if where is None else KeyIndex(view.records(where, ["key"])["key"])


def described(view: View, found: Neighbours) -> pa.Table:
    """Neighbours with rank, similarity and the first record of each key; `n_ids` counts the ids that share it."""
    records = view.records_by("key", found.keys, ["id", "key", "length", "description"])
    first: dict[bytes, dict] = {}
    ids: dict[bytes, set[str]] = {}
    for row in records.to_pylist():
        first.setdefault(row["key"], row)
        ids.setdefault(row["key"], set()).add(row["id"])
    blank = {"id": None, "length": None, "description": None}
    rows = [first.get(key, blank) for key in found.keys]
    return pa.table(
        {
            "rank": pa.array(range(1, len(rows) + 1), pa.int32()),
            "id": pa.array([r["id"] for r in rows], pa.string()),
            "similarity": pa.array(found.similarity, pa.float32()),
            "length": pa.array([r["length"] for r in rows], pa.int32()),
            "description": pa.array([r["description"] for r in rows], pa.string()),
            "n_ids": pa.array([len(ids.get(key, ())) for key in found.keys], pa.int32()),
            "key": key_array(found.keys),
        }
    )
