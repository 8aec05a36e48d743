"""Rows that another program wrote with the right checksum: values that are not finite, matrices of another size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from lance.blob import BlobType

from protea_ray.store.location import Location
from protea_ray.store.rows import row_checksums, space_rows, space_schema, vector_facts
from protea_ray.store.spaces import ensure_space
from protea_ray.store.verify import verify
from tests.store import build, rich

MATRICES = ("residues", "logits")
BOTH = "both-00000004"


def append(location: Location, space: str, rows: pa.Table, changes: dict[str, Callable[[Any], Any]]) -> None:
    """Append `rows` with the first value of some columns changed, and checksums that fit."""
    columns = {name: rows[name].combine_chunks() for name in rows.column_names}
    blobs = [name for name in MATRICES if name in columns]
    columns |= {name: columns[name].storage.field(0) for name in blobs}
    for name, change in changes.items():
        values = columns[name].to_pylist()
        columns[name] = pa.array([change(values[0]), *values[1:]], columns[name].type)
    columns["crc"] = pa.array(row_checksums(columns, list(vector_facts(rows.schema)["widths"]), blobs))
    rest = [pa.nulls(len(rows), field.type) for field in list(BlobType().storage_type)[1:]]
    for name in blobs:
        struct = pa.StructArray.from_arrays([columns[name], *rest], fields=list(BlobType().storage_type))
        columns[name] = pa.ExtensionArray.from_storage(BlobType(), struct)
    rich.append(location, space, pa.Table.from_arrays(list(columns.values()), schema=rows.schema))


@pytest.mark.parametrize("pooling", ["mean", "mean_max"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_found_in_any_pooling(
    rich_location: Location, pooling: str, value: float
) -> None:
    rich.ingest(rich_location, "/data/c.fasta#c0de", [30, 31])
    rows = rich.chunked_rows([30, 31], "foreign")
    append(rich_location, rich.CHUNKED, rows, {pooling: lambda vector: [value, *vector[1:]]})
    (found,) = verify(rich_location, rich.CHUNKED).damage
    assert (found.kind, found.unit, found.count) == ("non_finite", "foreign", 1)
    assert found.keys == (build.key(30).hex(),)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("matrix", [None, *MATRICES])
def test_matrices_of_another_size_than_their_span_are_found(tmp_path: Path, dtype: str, matrix: str | None) -> None:
    location = build.store(tmp_path / "s", range(4))
    of = space_schema({"mean": build.WIDTH}, dtype, 5, {}, ["A", "C", "D"])
    ensure_space(location, build.info(BOTH), of)
    lengths = [len(build.sequence(n)) for n in range(4)]
    rng = np.random.default_rng(1)
    rows = space_rows(
        of, keys=[build.key(n) for n in range(4)], unit="short", spans=[(0, n) for n in lengths], n_residues=lengths,
        n_residues_seen=lengths, n_windows=[1] * 4, truncated=[False] * 4, vectors={"mean": rng.normal(size=(4, 8))},
        residues=[rng.normal(size=(n, 5)) for n in lengths], logits=[rng.normal(size=(n, 3)) for n in lengths],
    )  # fmt: skip
    append(location, BOTH, rows, {matrix: lambda data: data[:-2]} if matrix else {})
    found = [(f.kind, f.unit, f.keys) for f in verify(location, BOTH).findings]
    assert found == ([("dimension", "short", (build.key(0).hex(),))] if matrix else [])
