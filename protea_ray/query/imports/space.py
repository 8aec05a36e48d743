"""An imported space: what it is called, what its columns are, and rows of it from a file's items."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import pyarrow as pa

from protea_ray.config.identity import canonical_json
from protea_ray.errors import ConfigError
from protea_ray.exchange.importing import Protein
from protea_ray.exchange.vector_files import Item
from protea_ray.store.schema import space_rows, space_schema
from protea_ray.store.space import SpaceInfo

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_UNSAFE = re.compile(r"[^A-Za-z0-9_.]+")
_LIBRARIES = ("protea-ray", "pylance", "pyarrow")


@dataclass(frozen=True)
class ImportOptions:
    """`model` is what computed the vectors, `pooling` names vectors whose file does not say how they were pooled,
    `layer` chooses one of several in fair-esm's files."""

    model: str
    pooling: str = "mean"
    layer: int | None = None
    store_dtype: str = "float16"

    def __post_init__(self) -> None:
        problems = []
        if not self.model.strip():
            problems.append("model is empty; say what computed the vectors")
        if not _NAME.fullmatch(self.pooling) or self.pooling in space_schema({}, "float16", 1, {}).names:
            problems.append(f"pooling {self.pooling!r} cannot be a column; take a word such as mean")
        if self.store_dtype not in ("float16", "float32"):
            problems.append(f"store_dtype {self.store_dtype!r} is not float16 or float32")
        if problems:
            raise ConfigError(problems, where="import")


@dataclass(frozen=True)
class Shape:
    """Columns of the space: width of each pooled vector, and of residue matrices if it has them."""

    widths: dict[str, int]
    residue_width: int | None

    @classmethod
    def of(cls, item: Item, options: ImportOptions) -> Shape:
        """The first readable item decides; whoever differs is rejected."""
        widths = {name or options.pooling: len(vector) for name, vector in item.vectors.items()}
        return cls(widths, None if item.residues is None else item.residues.shape[1])


def describe(shape: Shape, options: ImportOptions, format: str, run: str) -> tuple[SpaceInfo, pa.Schema]:
    """The same file format, model, layer and columns are the same space, whatever the file is called."""
    columns = {"widths": shape.widths, "residue_width": shape.residue_width, "store_dtype": options.store_dtype}
    identity: dict[str, Any] = {"imported": format, "model": options.model, "layer": options.layer, **columns}
    digest = hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:8]
    short = _UNSAFE.sub("_", options.model.rstrip("/").rsplit("/", 1)[-1]).strip("._") or "model"
    pooling = [*shape.widths, *(["none"] if shape.residue_width else [])]
    info = SpaceInfo(
        name=f"{short[:80]}-imported-{digest}",
        identity=identity,
        config={"model": options.model, "family": "imported", "pooling": pooling, "chunk_size": None,
                "store_dtype": options.store_dtype},
        checkpoint={"model": options.model, "revision": None, "files": {}},
        hidden=shape.residue_width or max(shape.widths.values()),
        run=run,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={name: version(name) for name in _LIBRARIES},
        imported=True,
    )  # fmt: skip
    return info, space_schema(shape.widths, options.store_dtype, shape.residue_width, {})


@dataclass(frozen=True)
class Row:
    """One protein of the space; `seen` residues have a row in `residues`."""

    key: bytes
    length: int
    seen: int
    vectors: dict[str, np.ndarray]
    residues: np.ndarray | None


def row_of(item: Item, protein: Protein, shape: Shape, options: ImportOptions) -> Row | str:
    """The row, or one word that says why there is none: shape, length or non_finite."""
    if item.problem:
        return item.problem
    if Shape.of(item, options) != shape:
        return "shape"
    residues = item.residues
    if residues is not None:
        if item.matrix_is == "with_ends" and len(residues) == protein.length + 2:
            residues = residues[1:-1]
        if len(residues) != protein.length and not (item.matrix_is == "cut" and len(residues) < protein.length):
            return "length"
    dtype = np.dtype(options.store_dtype)
    arrays = [*item.vectors.values(), *([residues] if residues is not None else [])]
    with np.errstate(over="ignore"):  # what float16 cannot hold becomes Inf
        if not all(np.isfinite(array.astype(dtype)).all() for array in arrays):
            return "non_finite"
    vectors = {name or options.pooling: vector for name, vector in item.vectors.items()}
    return Row(protein.key, protein.length, protein.length if residues is None else len(residues), vectors, residues)


def table_of(rows: Sequence[Row], unit: str, shape: Shape, schema: pa.Schema) -> pa.Table:
    """One unit of the space."""
    return space_rows(
        schema,
        keys=[row.key for row in rows],
        unit=unit,
        spans=[(0, row.seen) for row in rows],
        n_residues=[row.length for row in rows],
        n_residues_seen=[row.seen for row in rows],
        n_windows=[1] * len(rows),
        truncated=[row.seen < row.length for row in rows],
        vectors={name: np.stack([row.vectors[name] for row in rows]) for name in shape.widths},
        residues=[row.residues for row in rows if row.residues is not None] if shape.residue_width else None,
    )
