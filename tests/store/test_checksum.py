"""A row's checksum is over every other value of the row, and any change of any of them is found by verify."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from protea_ray.store.location import Location
from protea_ray.store.rows import row_checksums, space_rows, space_schema
from protea_ray.store.tables import open_table
from protea_ray.store.verify import verify
from tests.store import rich

NUMBERS = ("chunk_start", "chunk_end", "n_residues", "n_residues_seen", "n_windows", "truncated")
FIELDS = ("unit", "key", *NUMBERS, "mean", "cls", "residues", "logits")


def columns() -> dict[str, Any]:
    """Two rows of a protein, in which no two fields have the same value."""
    rng = np.random.default_rng(3)
    of = space_schema({"mean": 4, "cls": 4}, "float16", 3, {}, ["A", "C"])
    lengths = (7, 6)
    rows = space_rows(
        of, keys=[bytes(range(16))], unit="r9.3", spans=[[(5, 12), (8, 14)]], n_residues=[40], n_residues_seen=[31],
        n_windows=[2], truncated=[True], vectors={"mean": [rng.normal(size=(2, 4))], "cls": [rng.normal(size=(2, 4))]},
        residues=[rng.normal(size=(n, 3)) for n in lengths], logits=[rng.normal(size=(n, 2)) for n in lengths],
    )  # fmt: skip
    found = {name: rows[name].combine_chunks() for name in rows.column_names}
    for name in ("residues", "logits"):
        found[name] = found[name].storage.field(0)
    return found


def by_hand(found: dict[str, Any], row: int) -> int:
    """CRC-32 of unit, key, six little-endian int32, halves of both vectors, halves of both matrices."""
    values = {name: array[row].as_py() for name, array in found.items()}
    data = values["unit"].encode() + values["key"] + struct.pack("<6i", *(values[n] for n in NUMBERS))
    data += struct.pack("<8e", *values["mean"], *values["cls"]) + values["residues"] + values["logits"]
    return zlib.crc32(data)


def checksums(found: dict[str, Any]) -> list[int]:
    return row_checksums(found, ["mean", "cls"], ["residues", "logits"]).tolist()


def test_it_is_the_crc_of_the_values_in_this_order() -> None:
    found = columns()
    assert checksums(found) == found["crc"].to_pylist() == [by_hand(found, 0), by_hand(found, 1)]


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_counts_by_itself(field: str) -> None:
    found = columns()
    array = found[field]
    first = array[0].as_py()
    match first:
        case bool():
            changed: Any = not first
        case int():
            changed = first + 1
        case str():
            changed = first + "0"
        case bytes():
            changed = first[:-1] + bytes([first[-1] ^ 1])
        case _:
            changed = [*first[:-1], np.float16(first[-1]) + np.float16(1)]
    found[field] = pa.concat_arrays([pa.array([changed], array.type), array.slice(1)])
    before, after = columns()["crc"].to_pylist(), checksums(found)
    assert after[0] != before[0]
    assert after[1] == before[1]


CHANGES = {
    "n_residues": "n_residues + 1",
    "n_residues_seen": "n_residues_seen - 1",
    "n_windows": "n_windows + 1",
    "truncated": "NOT truncated",
    "chunk_end": "chunk_end - 1",
    "unit": "'r7.7'",
    "crc": "crc + 1",
}


@pytest.mark.parametrize("field", CHANGES)
def test_verify_finds_a_field_that_was_changed_by_itself(rich_location: Location, field: str) -> None:
    uri = rich_location.table(rich.CHUNKED)
    rows = open_table(uri).to_table(columns=["key", "chunk_start"], filter="unit = 'r1.7'").to_pylist()
    chosen = next(row for row in rows if row["chunk_start"] > 0)
    where = f"key = X'{chosen['key'].hex()}' AND chunk_start = {chosen['chunk_start']}"
    open_table(uri).update({field: CHANGES[field]}, where=where)
    (found,) = verify(rich_location).findings
    unit = "r7.7" if field == "unit" else "r1.7"
    assert (found.kind, found.table, found.unit, found.count) == ("checksum", rich.CHUNKED, unit, 1)
    assert found.keys == (chosen["key"].hex(),)
