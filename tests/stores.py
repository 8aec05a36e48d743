"""Look into a store with lance alone, so that tests do not trust the package to count its own rows."""

from __future__ import annotations

from pathlib import Path

import lance
import numpy as np


def space(store: Path) -> Path:
    """The only vector space of a store."""
    (found,) = [p for p in sorted(store.glob("*.lance")) if "key" in names(p) and "unit" in names(p)]
    return found


def names(table: Path) -> list[str]:
    """Columns of a table."""
    return lance.dataset(str(table)).schema.names


def vectors(store: Path, column: str = "mean", table: Path | None = None) -> dict[bytes, np.ndarray]:
    """Vector of every key; fails on a key that is there twice."""
    rows = lance.dataset(str(table or space(store))).to_table(columns=["key", column])
    keys = rows["key"].to_pylist()
    assert len(set(keys)) == len(keys), "a key is in the space twice"
    matrix = np.stack(rows[column].combine_chunks().to_numpy(zero_copy_only=False))
    return dict(zip(keys, matrix.astype(np.float32), strict=True))


def sequences(store: Path) -> dict[bytes, str]:
    """Letters of every key."""
    rows = lance.dataset(str(store / "proteins.lance")).to_table(columns=["key", "sequence"]).to_pylist()
    return {row["key"]: row["sequence"] for row in rows}


def version(table: Path) -> int:
    """Latest version of a table."""
    return lance.dataset(str(table)).version


def count(table: Path) -> int:
    """Rows of a table."""
    return lance.dataset(str(table)).count_rows()
