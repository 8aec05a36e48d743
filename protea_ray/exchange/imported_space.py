"""Which space the vectors of a file go to: its name, its columns and what is recorded of it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from protea_ray.config.identity import canonical_json, short_name
from protea_ray.config.libraries import OF_IMPORT, versions
from protea_ray.errors import ConfigError
from protea_ray.exchange.vector_files import VectorItem
from protea_ray.store.rows import space_schema
from protea_ray.store.spaces import SpaceInfo

_COLUMN_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True)
class ImportOptions:
    """How a file becomes a space; raises ConfigError that lists every option that cannot work.

    `model`: what computed the vectors. `pooling`: name for vectors whose file does not say how they were pooled.
    `layer`: one of several in fair-esm's and FANTASIA's files. `store_dtype`: float16 or float32. `dataset`: path of
    the vectors below each protein's group of an HDF5 file.
    """

    model: str
    pooling: str = "mean"
    layer: int | None = None
    store_dtype: str = "float16"
    dataset: str | None = None

    def __post_init__(self) -> None:
        problems = []
        if not self.model.strip():
            problems.append("model is empty; say what computed the vectors")
        if not _COLUMN_NAME.fullmatch(self.pooling) or self.pooling in space_schema({}, "float16", 1, {}).names:
            problems.append(f"pooling {self.pooling!r} cannot be a column; take a word such as mean")
        if self.store_dtype not in ("float16", "float32"):
            problems.append(f"store_dtype {self.store_dtype!r} is not float16 or float32")
        if problems:
            raise ConfigError(problems, where="import")


@dataclass(frozen=True)
class ImportShape:
    """Columns of the space: width of each pooled vector, and of residue matrices if it has them."""

    widths: dict[str, int]
    residue_width: int | None

    @classmethod
    def of(cls, item: VectorItem, options: ImportOptions) -> ImportShape:
        """The columns that one item has; those of the first readable item are the space's, other items are rejected."""
        widths = {name or options.pooling: len(vector) for name, vector in item.vectors.items()}
        return cls(widths, None if item.residues is None else item.residues.shape[1])


def describe(shape: ImportShape, options: ImportOptions, format: str, run: str) -> tuple[SpaceInfo, pa.Schema]:
    """The record and the schema of the space that a file's vectors go to.

    Its name is made of the file format, the model, the layer and the columns: the same ones are the same space,
    whatever the file is called.
    """
    columns = {"widths": shape.widths, "residue_width": shape.residue_width, "store_dtype": options.store_dtype}
    identity: dict[str, Any] = {"imported": format, "model": options.model, "layer": options.layer, **columns}
    if options.dataset is not None:  # left out where it is not set: spaces of earlier imports keep their names
        identity["dataset"] = options.dataset.strip("/")
    digest = hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:8]
    pooling = [*shape.widths, *(["none"] if shape.residue_width else [])]
    info = SpaceInfo(
        name=f"{short_name(options.model)}-imported-{digest}",
        identity=identity,
        config={"model": options.model, "family": "imported", "pooling": pooling, "chunk_size": None,
                "store_dtype": options.store_dtype},
        checkpoint={"model": options.model, "revision": None, "files": {}},
        hidden=shape.residue_width or max(shape.widths.values()),
        run=run,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=versions(OF_IMPORT),
        imported=True,
    )  # fmt: skip
    return info, space_schema(shape.widths, options.store_dtype, shape.residue_width, {})
