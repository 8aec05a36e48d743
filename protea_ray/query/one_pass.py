"""Many queries against every row of a space in one pass: the nearest proteins of each, exactly.

A batch of rows meets all queries in one float32 matrix product. That product only chooses: a pair that may still be
among the `k` best is computed again in float64, so a similarity is the same whether one query was asked or a thousand.
200 queries against 100,000 rows of 1,280 values take 3 times as long as reading them; a search for each would take 140
times.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from protea_ray.query.view import View, matrix
from protea_ray.sequences.records import KEY_BYTES
from protea_ray.store.keys import KeyIndex, words

SAFE_NORM = 1e-12
_AT_A_TIME = 1024  # query rows of one product: 33 MB of similarities with a batch of 8,192 rows
_PAIRS = 4096  # computed again at a time: 42 MB for 1,280 values
_SLACK = 1e-5  # a float32 product of unit vectors of 10,000 values is off by less


@dataclass(frozen=True)
class Neighbours:
    """Keys and cosine similarities, best first."""

    keys: list[bytes]
    similarity: list[float]


@dataclass(frozen=True)
class QueryRows:
    """Vectors to search with: `rows` (m, D), and `owner` (m,), the number of the query that each row is of.

    A chunked protein has several rows. There are `count` queries, each with at least one row, in the order of `owner`.
    """

    rows: np.ndarray
    owner: np.ndarray
    count: int

    def of(self, query: int) -> np.ndarray:
        """The rows of one query."""
        return self.rows[self.owner == query]


def search_in_one_pass(
    view: View, queries: QueryRows, k: int, pooling: str, allowed: KeyIndex | None = None
) -> list[Neighbours]:
    """For each query the `k` proteins whose best row has the highest cosine to the best of the query's rows.

    Of equal similarity the smaller key comes first. Only proteins in `allowed` count, if it is given.
    """
    best = _Best(queries.count, k)
    unit = _unit(queries.rows.astype(np.float64))
    short = unit.astype(np.float32)
    for batch in view.vectors.to_batches(columns=["key", pooling]):
        keys, stored = batch.column("key"), matrix(batch.column(pooling))
        if allowed is not None:
            rows = np.flatnonzero(allowed.contains(keys))
            keys, stored = keys.take(pa.array(rows)), stored[rows]
        if len(stored):
            _add_batch(best, unit, short, queries.owner, words(keys), stored, view.info.chunked)
    return best.neighbours()


def _add_batch(
    best: _Best, unit: np.ndarray, short: np.ndarray, owner: np.ndarray, keys: tuple[np.ndarray, np.ndarray],
    stored: np.ndarray, chunked: bool,
) -> None:  # fmt: skip
    """Compare the rows `stored` (n, D) with all queries; `unit` in float64 and `short` in float32 are (m, D)."""
    wide = stored.astype(np.float32)
    wide /= np.maximum(np.sqrt(np.einsum("ij,ij->i", wide, wide)), SAFE_NORM)[:, None]
    proteins = _first_rows(*keys) if chunked else None
    for start in range(0, len(short), _AT_A_TIME):
        part = slice(start, start + _AT_A_TIME)
        similar = short[part] @ wide.T
        best.raise_floor(owner[part], similar, proteins)
        query, row = np.nonzero(similar >= best.floor[owner[part], None] - _SLACK)
        exact = _exact(unit, query + start, stored, row)
        best.add(owner[query + start], exact, keys[0][row], keys[1][row])


def _first_rows(high: np.ndarray, low: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An order that puts the rows of one protein together, and where each protein begins in it."""
    order = np.lexsort((low, high))
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(high[order]) != 0) | (np.diff(low[order]) != 0)
    return order, np.flatnonzero(new)


def _exact(unit: np.ndarray, query: np.ndarray, stored: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Cosine in float64 of each pair of a query row and a stored row, (pairs,)."""
    found = np.empty(len(query), np.float64)
    for start in range(0, len(query), _PAIRS):
        part = slice(start, start + _PAIRS)
        found[part] = np.einsum("ij,ij->i", unit[query[part]], _unit(stored[row[part]].astype(np.float64)))
    return found


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), SAFE_NORM)


class _Best:
    """The best `k` proteins of each query so far. `floor` (queries,): the similarity below which none gets in."""

    def __init__(self, queries: int, k: int) -> None:
        self._k = k
        self.floor = np.full(queries, -np.inf)
        self._query = np.zeros(0, np.int64)
        self._similarity = np.zeros(0, np.float64)
        self._high, self._low = np.zeros(0, np.uint64), np.zeros(0, np.uint64)

    def raise_floor(
        self, owner: np.ndarray, similar: np.ndarray, proteins: tuple[np.ndarray, np.ndarray] | None
    ) -> None:
        """Raise the floor to the k-th best protein of this batch alone; `similar` is (query rows, rows), float32.

        Rows are proteins, unless `proteins` says which rows are of one.
        """
        if proteins is not None:
            order, first = proteins
            similar = np.maximum.reduceat(similar[:, order], first, axis=1)
        behind = similar.shape[1] - self._k
        if behind >= 0:
            np.maximum.at(self.floor, owner, np.partition(similar, behind, axis=1)[:, behind])

    def add(self, query: np.ndarray, similarity: np.ndarray, high: np.ndarray, low: np.ndarray) -> None:
        """Add pairs; of a query and a protein the best one counts."""
        query, high = np.concatenate([self._query, query]), np.concatenate([self._high, high])
        low, similarity = np.concatenate([self._low, low]), np.concatenate([self._similarity, similarity])
        by_protein = np.lexsort((-similarity, low, high, query))
        same = _repeats(query[by_protein], high[by_protein], low[by_protein])
        once = by_protein[~same]
        ranked = once[np.lexsort((low[once], high[once], -similarity[once], query[once]))]
        start = np.searchsorted(query[ranked], query[ranked])
        rank = np.arange(len(ranked)) - start
        kept = ranked[rank < self._k]
        self._query, self._similarity = query[kept], similarity[kept]
        self._high, self._low = high[kept], low[kept]
        last = ranked[rank == self._k - 1]
        self.floor[query[last]] = np.maximum(self.floor[query[last]], similarity[last])

    def neighbours(self) -> list[Neighbours]:
        """The proteins of each query, best first."""
        ends = np.searchsorted(self._query, np.arange(len(self.floor) + 1))
        keys = list(_keys(self._high, self._low))
        similarity = self._similarity.tolist()
        return [Neighbours(keys[a:b], similarity[a:b]) for a, b in pairwise(ends.tolist())]


def _repeats(*sorted_columns: np.ndarray) -> np.ndarray:
    """Whether each row equals the one before it, (n,)."""
    same = np.ones(len(sorted_columns[0]), bool)
    same[:1] = False
    for column in sorted_columns:
        same[1:] &= column[1:] == column[:-1]
    return same


def _keys(high: np.ndarray, low: np.ndarray) -> Iterator[bytes]:
    raw = np.stack([high, low], axis=1).astype(">u8").tobytes()
    return (raw[i : i + KEY_BYTES] for i in range(0, len(raw), KEY_BYTES))
