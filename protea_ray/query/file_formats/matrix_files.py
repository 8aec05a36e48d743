"""Files of one matrix: NumPy's npz and AnnData's h5ad. All of it is in memory while it is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from protea_ray.query.file_formats.content import Content
from protea_ray.query.view import View, matrix


def npz_file(content: Content, path: Path) -> int:
    """Write the arrays id, key (n, 16), span (n, 2) and the pooling (n, D); returns the rows."""
    table = content.whole()
    ids = np.array(table["id"].to_pylist(), dtype=np.str_)
    keys = np.frombuffer(b"".join(table["key"].to_pylist()), np.uint8).reshape(-1, 16)
    spans = np.stack([table["chunk_start"].to_numpy(), table["chunk_end"].to_numpy()], axis=1)
    vectors = {content.pooling: matrix(table[content.pooling])}
    np.savez(path, allow_pickle=False, id=ids, key=keys, span=spans, **vectors)
    return len(table)


def h5ad_file(content: Content, path: Path) -> int:
    """Write AnnData: X in single precision, obs by id, and the pin, pooling and model in uns; returns the rows."""
    import anndata
    import pandas

    table, pooling = content.whole(), content.pooling
    texts = {"description": table["description"].to_pylist(), "key": [k.hex() for k in table["key"].to_pylist()]}
    # plain objects: AnnData declines to write pandas 3's own strings unless told to
    columns = {name: pandas.Series(values, dtype=object) for name, values in texts.items()}
    obs = pandas.DataFrame(columns | {c: table[c].to_numpy() for c in ("length", "chunk_start", "chunk_end")})
    obs.index = pandas.Index(table["id"].to_pylist(), name="id", dtype=object)
    values = matrix(table[pooling]).astype(np.float32)  # AnnData has no half precision
    var = pandas.DataFrame(index=pandas.Index([str(i) for i in range(values.shape[1])], dtype=object))
    anndata.AnnData(X=values, obs=obs, var=var, uns=_about(content.view, pooling)).write_h5ad(path)
    return len(table)


def _about(view: View | None, pooling: str) -> dict[str, object]:
    """What AnnData keeps of the vectors' origin."""
    if view is None:
        return {"pooling": pooling}
    return {**view.pin.to_json(), "pooling": pooling, "model": view.info.model, "trained": view.info.trained}
