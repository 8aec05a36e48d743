"""Tables in every format: the same rows, the same rejects, the row numbers of the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lance
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from protea_ray.errors import InputError
from protea_ray.sequences.columnar import explained
from protea_ray.sequences.inputs import expand, scan
from protea_ray.sequences.parts import Columns, Source
from protea_ray.sequences.read import read_part
from tests.sequences.reading import read, written

ROWS = pa.table(
    {
        "id": ["a", "00123", None, "d", "e"],
        "sequence": ["MKV", "mk v*", "LLL", None, "M-K"],
        "description": ["first", None, "", "x", "y"],
        "other": [1.0, 2.0, 3.0, 4.0, 5.0],
    }
)


def _stream(table: pa.Table, path: str) -> None:
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table)


def _file(table: pa.Table, path: str) -> None:
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


def _csv(table: pa.Table, path: str, delimiter: str = ",") -> None:
    lines = [table.column_names, *([("" if v is None else str(v)) for v in row.values()] for row in table.to_pylist())]
    Path(path).write_text("\n".join(delimiter.join(line) for line in lines) + "\n")


def _jsonl(table: pa.Table, path: str) -> None:
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))


WRITERS: dict[str, Callable[[pa.Table, str], Any]] = {
    "parquet": lambda table, path: pq.write_table(table, path, row_group_size=2),
    "arrow-file": _file,
    "arrow-stream": _stream,
    "feather": feather.write_feather,
    "csv": _csv,
    "tsv": lambda table, path: _csv(table, path, "\t"),
    "jsonl": _jsonl,
    "lance": lambda table, path: lance.write_dataset(table, path, max_rows_per_file=2),
}
formats = pytest.mark.parametrize("name", WRITERS)
binary = pytest.mark.parametrize("name", ["parquet", "arrow-file", "arrow-stream", "feather", "lance"])


@formats
@pytest.mark.parametrize("part_bytes", [1, 1 << 20])
def test_the_same_rows_in_every_format(tmp_path: Path, name: str, part_bytes: int) -> None:
    path = tmp_path / "table"
    WRITERS[name](ROWS, str(path))
    got = read(path, part_bytes=part_bytes)
    first = 2 if name in ("csv", "tsv") else 1  # lines of a text table count its header
    assert [(row["id"], row["sequence"], row["description"], row["line"]) for row in got.proteins] == [
        ("a", "MKV", "first", first),
        ("00123", "MKV", "", first + 1),
    ]
    assert [(row["id"], row["reason"], row["line"]) for row in got.rejects] == [
        ("", "empty_id", first + 2),
        ("d", "empty_sequence", first + 3),
        ("e", "illegal_letter", first + 4),
    ]


@pytest.mark.parametrize(("name", "count"), [("parquet", 3), ("lance", 3), ("feather", 1)])
def test_parts_of_row_groups_and_fragments(tmp_path: Path, name: str, count: int) -> None:
    path = tmp_path / "table"
    WRITERS[name](ROWS, str(path))
    parts = scan(expand([str(path)])[0], Columns(), 1).parts
    assert [part.line for part in parts] == [1, 3, 5][:count]


@binary
@pytest.mark.parametrize(
    "kind",
    [
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.large_binary(),
        pa.dictionary(pa.int32(), pa.string()),
    ],
    ids=str,
)
def test_every_kind_of_text(tmp_path: Path, name: str, kind: pa.DataType) -> None:
    if name == "lance" and kind == pa.string_view():
        pytest.skip("Lance does not store string_view")
    column = pa.array(["MKV", "LLL", None]).cast(kind)
    table = pa.table({"id": pa.array(["a", "b", "c"]).cast(kind), "sequence": column})
    WRITERS[name](table, str(tmp_path / "table"))
    got = read(tmp_path / "table")
    assert [(row["id"], row["sequence"]) for row in got.proteins] == [("a", "MKV"), ("b", "LLL")]
    assert got.reasons == ["empty_sequence"]


@pytest.mark.parametrize("kind", [pl.Enum(["p2", "p1", "mkv", "LLG"]), pl.Categorical(), pl.Binary(), pl.String()])
@pytest.mark.parametrize("write", ["write_ipc", "write_ipc_stream", "write_parquet"])
def test_every_kind_of_text_that_polars_writes(tmp_path: Path, kind: pl.DataType, write: str) -> None:
    frame = pl.DataFrame({"id": ["p1", "p2", None, "p1"], "sequence": ["mkv", None, "LLG", "LLG"]})
    getattr(frame.with_columns(pl.all().cast(kind)), write)(tmp_path / "table")
    got = read(tmp_path / "table")
    assert [(row["id"], row["sequence"], row["line"]) for row in got.proteins] == [("p1", "MKV", 1), ("p1", "LLG", 4)]
    assert got.reasons == ["empty_sequence", "empty_id"]


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (pa.array([b"ab", b"cd"], pa.binary(2)), "'id' holds fixed_size_binary"),
        (pa.array([{"x": "a"}, {"x": "b"}]), "'id' holds struct"),
        (pa.RunEndEncodedArray.from_arrays([1, 2], ["a", "b"]), "'id' holds run_end_encoded"),
        (pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16] * 2, pa.binary(16))), "'id' holds extension"),
        (pa.array([True, False]), "'id' holds bool"),
    ],
)
def test_kinds_that_hold_no_text_are_named(tmp_path: Path, ids: pa.Array, said: str) -> None:
    _file(pa.table({"id": ids, "sequence": ["MKV", "LLL"]}), str(tmp_path / "table"))
    with pytest.raises(InputError) as caught:
        read(tmp_path / "table")
    assert said in str(caught.value)
    assert "damaged" not in str(caught.value)


def test_what_arrow_lacks_is_no_damage() -> None:
    with pytest.raises(InputError) as caught, explained(Source("t.arrow", "arrow", "none", 1)):
        pc.call_function("array_sort_indices", [pa.array(["a"], pa.string_view())])
    assert "cannot be read as arrow" in str(caught.value)
    assert "download" not in str(caught.value)


@formats
def test_whole_numbers_are_ids(tmp_path: Path, name: str) -> None:
    table = pa.table({"id": pa.array([7, 2**53 + 1], pa.int64()), "sequence": ["MKV", "LLL"]})
    WRITERS[name](table, str(tmp_path / "table"))
    assert [row["id"] for row in read(tmp_path / "table").proteins] == ["7", "9007199254740993"]


@binary
def test_columns_that_cannot_be_read_are_explained(tmp_path: Path, name: str) -> None:
    table = pa.table({"id": [1.5], "sequence": [["M", "K"]]})
    WRITERS[name](table, str(tmp_path / "table"))
    with pytest.raises(InputError, match=r"'id' holds double[\s\S]*'sequence' holds list"):
        read(tmp_path / "table")


@formats
def test_columns_by_other_names(tmp_path: Path, name: str) -> None:
    table = ROWS.rename_columns(["Entry", "Sequence", "Protein names", "other"]).slice(0, 1)
    WRITERS[name](table, str(tmp_path / "table"))
    got = read(tmp_path / "table", columns=Columns("Entry", "Sequence", "Protein names"))
    assert [(row["id"], row["description"]) for row in got.proteins] == [("a", "first")]
    with pytest.raises(InputError, match=r"'Entry', 'Sequence'.*--id-column"):
        read(tmp_path / "table")


@formats
def test_the_id_and_the_letters_from_one_column(tmp_path: Path, name: str) -> None:
    WRITERS[name](ROWS.slice(0, 1), str(tmp_path / "table"))
    got = read(tmp_path / "table", columns=Columns("sequence", "sequence"))
    assert [(row["id"], row["sequence"]) for row in got.proteins] == [("MKV", "MKV")]


@pytest.mark.parametrize("name", ["parquet", "arrow-file", "arrow-stream", "feather"])
@pytest.mark.parametrize("keep", [0.5, 0.9, 0.99])
def test_truncated_tables_are_refused(tmp_path: Path, name: str, keep: float) -> None:
    table = pa.table({"id": [f"r{i}" for i in range(5000)], "sequence": ["MKV" * (i % 50 + 1) for i in range(5000)]})
    path = tmp_path / "table"
    WRITERS[name](table, str(path))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(InputError, match="table: truncated or damaged"):
        read(path)


@pytest.mark.parametrize(("letter", "instead"), [(b"WCW", b"WAW"), (b"id-9", b"id-8")])
def test_a_changed_byte_of_a_parquet_page_is_no_other_protein(tmp_path: Path, letter: bytes, instead: bytes) -> None:
    """Pages with checksums, as Arrow and Java write them on request; the changed text is as well formed as before."""
    table = pa.table({"id": ["id-7", "id-9", "id-10"], "sequence": ["MKV", "MWCWK", "LLL"]})
    plain = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    pq.write_table(table, tmp_path / "table", write_page_checksum=True, **plain)
    assert len(read(tmp_path / "table").proteins) == 3
    data = (tmp_path / "table").read_bytes()
    assert data.count(letter) == 1
    with pytest.raises(InputError, match="table: truncated or damaged parquet"):
        read(written(tmp_path, data.replace(letter, instead), "table"))


def test_a_lance_dataset_is_read_at_the_version_that_was_scanned(tmp_path: Path) -> None:
    path = str(tmp_path / "set.lance")
    lance.write_dataset(ROWS.slice(0, 1), path)
    scanned = scan(expand([path])[0], Columns(), 1)
    lance.write_dataset(ROWS.slice(0, 2), path, mode="append")
    rows = [b.proteins.num_rows for part in scanned.parts for b in read_part(part, Columns(), "l", "r")]
    assert rows == [1]
    assert scan(expand([path])[0], Columns(), 1).digest != scanned.digest


def test_a_lance_dataset_inside_a_directory_is_one_source(tmp_path: Path) -> None:
    lance.write_dataset(ROWS, str(tmp_path / "set.lance"))
    lance.write_dataset(ROWS.select(["other"]), str(tmp_path / "vectors.lance"))
    written(tmp_path, b">a\nMKV\n")
    assert [source.format for source in expand([str(tmp_path)])] == ["fasta", "lance"]


def test_a_bad_row_of_a_csv_is_a_reject(tmp_path: Path) -> None:
    data = b'id,sequence\na,MKV\n\nb\nc,MKV,extra\n"d"x,MKV\n"e, f","M\nKV"\n\xe9,MKV\ng,LLL\n'
    got = read(written(tmp_path, data, "in.csv"))
    assert [(row["id"], row["line"]) for row in got.proteins] == [("a", 2), ("e, f", 7), ("é", 9), ("g", 10)]
    assert [(row["id"], row["line"], row["reason"]) for row in got.rejects] == [
        ("b", 4, "malformed_row"),
        ("c", 5, "malformed_row"),
        ("", 6, "malformed_row"),
    ]


def test_a_quote_that_is_not_closed_stops_the_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"in\.csv:3: a quoted field begins here"):
        read(written(tmp_path, b'id,sequence\na,MKV\nb,"MK\nc,LLL\n', "in.csv"))


def test_a_bad_line_of_a_jsonl_is_a_reject(tmp_path: Path) -> None:
    lines = [
        '{"id": "a", "sequence": "MKV"}',
        "{",
        "[1]",
        '{"id": ["x"], "sequence": "MKV"}',
        '{"id": "e", "sequence": 5.5}',
        '{"id": true, "sequence": "MKV"}',
        '{"id": "g"}',
        "[" * 100_000,
        "",
        '{"id": 9, "sequence": "LLL", "description": {"no": "text"}}',
        '{"id": "\\ud800", "sequence": "LLL"}',
        '{"id": "j", "sequence": "MKV"} {"id": "k", "sequence": "LLL"}',
        '{"id": "l", "id": "m", "sequence": "MKV"}',
        '{"id": NaN, "sequence": "MKV"}',
    ]
    got = read(written(tmp_path, "\n".join(lines).encode(), "in.jsonl"))
    assert [(row["id"], row["line"]) for row in got.proteins] == [("a", 1), ("9", 10)]
    assert (
        got.reasons == ["malformed_row"] * 5 + ["empty_sequence", "malformed_row", "illegal_id"] + ["malformed_row"] * 3
    )
    said = [row["detail"] for row in got.rejects[-3:]]
    assert "more than one value on the line" in said[0]
    assert "'id' stands twice" in said[1]
    assert "a JSON float" in said[2]


def test_a_csv_without_rows_has_no_records(tmp_path: Path) -> None:
    assert read(written(tmp_path, b"id,sequence\n", "in.csv")).total == 0


def test_ambiguous_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="more than one column 'id'"):
        read(written(tmp_path, b"id,id,sequence\na,b,MKV\n", "in.csv"))


def test_a_damaged_column_name_is_an_input_error(tmp_path: Path) -> None:
    _stream(ROWS, str(tmp_path / "table"))
    data = (tmp_path / "table").read_bytes()
    with pytest.raises(InputError, match="table: truncated or damaged arrow"):
        read(written(tmp_path, data.replace(b"other", b"ot\xf1er"), "table"))


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _unknown_type(data: bytes) -> bytes:
    assert b"string" in data
    return data.replace(b"string", b"strikg")  # Lance panics on it


@pytest.mark.parametrize(
    ("part", "damage"), [("_versions/*.manifest", _half), ("_versions/*.manifest", _unknown_type), ("data/*", _half)]
)
def test_a_damaged_lance_dataset_is_an_input_error(tmp_path: Path, part: str, damage: Callable[[bytes], bytes]) -> None:
    lance.write_dataset(ROWS, str(tmp_path / "set.lance"))
    file = next((tmp_path / "set.lance").glob(part))
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(InputError, match=r"set\.lance: truncated or damaged lance"):
        read(tmp_path / "set.lance")
