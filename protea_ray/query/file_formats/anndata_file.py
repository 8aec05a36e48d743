"""AnnData's h5ad, for scanpy and cellxgene. All of it is in memory while it is written.

`X` is one pooling in single precision, a row a protein. `obsm` has `X_pca`, the two directions in which the rows vary
most, and every pooling as `X_mean` and so on; that of `X` is not stored a second time. cellxgene shows each of them as
a layout, the plane of its first two columns, and begins with `X_pca` (client/src/reducers/layoutChoice.js). It refuses
rows of one name (server/data_anndata/anndata_adaptor.py), so the index has other names where ids repeat.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from protea_ray.pictures.map_data import MapColumn
from protea_ray.pictures.projection import Projection, principal_components
from protea_ray.query.file_formats.content import Content, is_vector
from protea_ray.query.file_formats.names import free_name, named_otherwise, plain_name
from protea_ray.query.map_columns import fields_as_columns, labels_as_columns
from protea_ray.query.training.labels import match_labels
from protea_ray.query.view import CHUNK, View, matrix

if TYPE_CHECKING:
    import pandas


def h5ad_file(content: Content, path: Path) -> int:
    """Write obs by id, X, obsm, and the pin, the pooling, the model and the share of each direction in uns."""
    import anndata
    import pandas

    table = content.whole()
    vectors = {f.name: matrix(table[f.name]).astype(np.float32) for f in table.schema if is_vector(f.type)}
    chosen = vectors.pop(content.pooling)  # AnnData has no half precision
    projection = _projected(table, chosen)
    var = pandas.DataFrame(index=pandas.Index([str(i) for i in range(chosen.shape[1])], dtype=object))
    uns = _about(content.view, content.pooling, projection)
    made = anndata.AnnData(X=chosen, obs=_obs(content, table), var=var, uns=uns)
    made.obsm["X_pca"] = projection.places
    for name, values in vectors.items():
        made.obsm[f"X_{name}"] = values
    made.write_h5ad(path)
    _name_again(path, f"X_{content.pooling}")
    return len(table)


def _projected(table: pa.Table, vectors: np.ndarray) -> Projection:
    """Principal components of the different proteins, as on a map; ids of one protein lie at one place."""
    keys, starts = table["key"].to_pylist(), table["chunk_start"].to_pylist()
    rows = pa.array([key + start.to_bytes(8) for key, start in zip(keys, starts, strict=True)], pa.binary())
    which = rows.dictionary_encode().indices.to_numpy()
    _, first = np.unique(which, return_index=True)
    found = principal_components(vectors[first])
    return Projection(found.places[which], found.explained)


def _name_again(path: Path, name: str) -> None:
    """Give X a second name in obsm, which costs no bytes."""
    import h5py

    with h5py.File(path, "a") as file:
        file[f"obsm/{name}"] = file["X"]


def _obs(content: Content, table: pa.Table) -> pandas.DataFrame:
    """One row a protein: what is stored of it, the fields of its description, and its labels."""
    import pandas

    texts = {"id": table["id"], "description": table["description"]}
    columns: dict[str, Any] = {name: _texts(values.to_pylist()) for name, values in texts.items()}
    columns["key"] = _texts([key.hex() for key in table["key"].to_pylist()])
    columns |= {name: table[name].to_numpy() for name in ("length", *CHUNK)}
    fields, _ = fields_as_columns(table["description"].combine_chunks())
    for column in [*fields, *_labels(content, table, [*columns, *(field.name for field in fields)])]:
        columns[free_name(plain_name(column.name), columns)] = _values(column)
    return pandas.DataFrame(columns).set_axis(pandas.Index(_index(content, table), dtype=object))


def _texts(values: list[str]) -> pandas.Series:
    """Plain objects: AnnData declines to write pandas 3's own strings unless told to."""
    import pandas

    return pandas.Series(values, dtype=object)


def _values(column: MapColumn) -> Any:
    """Numbers as they are, texts as classes, unknown where there is none."""
    import pandas

    if column.numeric:
        return column.values
    return pandas.Categorical([value or None for value in column.values])


def _labels(content: Content, table: pa.Table, taken: list[str]) -> list[MapColumn]:
    """A column for each of the user's labels; notes say how they were understood."""
    if content.labels is None or content.view is None:
        return []
    match = match_labels(content.labels, content.view.records(None, ["id"])["id"])
    columns, said = labels_as_columns(content.labels, match.rows(table["id"]), taken)
    content.notes.extend([*match.sentences, *said])
    return columns


def _index(content: Content, table: pa.Table) -> list[str]:
    """A name of its own for each row: its id, of a chunk id/start, with a number behind it where it is taken."""
    taken: dict[str, None] = {}
    renamed = []
    for label in content.names_of(table):
        name = free_name(label, taken)
        taken[name] = None
        renamed += [(label, name)] if name != label else []
    if renamed:
        content.notes.append(f"{len(renamed):,} rows have an id that another row has ({named_otherwise(renamed)}); "
                             "the column id has the id")  # fmt: skip
    return list(taken)


def _about(view: View | None, pooling: str, projection: Projection) -> dict[str, Any]:
    """What AnnData keeps of the origin of the vectors, and of the plane that they are shown in."""
    about: dict[str, Any] = {"pooling": pooling}
    if projection.explained is not None:
        about["pca"] = {"variance_ratio": np.array(projection.explained)}
    if view is None:
        return about
    return {**about, **view.pin.to_json(), "model": view.info.model, "trained": view.info.trained}
