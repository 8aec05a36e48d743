"""NumPy's npz. All of it is in memory while it is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from protea_ray.query.file_formats.content import Content
from protea_ray.query.view import matrix


def npz_file(content: Content, path: Path) -> int:
    """Write the arrays id, key (n, 16), span (n, 2) and the pooling (n, D); returns the rows."""
    table = content.whole()
    ids = np.array(table["id"].to_pylist(), dtype=np.str_)
    keys = np.frombuffer(b"".join(table["key"].to_pylist()), np.uint8).reshape(-1, 16)
    spans = np.stack([table["chunk_start"].to_numpy(), table["chunk_end"].to_numpy()], axis=1)
    vectors = {content.pooling: matrix(table[content.pooling])}
    np.savez(path, allow_pickle=False, id=ids, key=keys, span=spans, **vectors)
    return len(table)
