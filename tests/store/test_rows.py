"""Rows in, the same rows out: schema, fragments, blobs, spaces, ledger."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from protea_ray.errors import InputError, StoreError, UnknownSpaceError
from protea_ray.query.reader import open_store
from protea_ray.sequences.records import PROTEINS_SCHEMA, REJECTS_SCHEMA
from protea_ray.store import ledger
from protea_ray.store.commit import write_fragments
from protea_ray.store.location import Location, open_location
from protea_ray.store.rows import SOURCES, space_rows, space_schema
from protea_ray.store.runs import last_run, new_run_id, record_run
from protea_ray.store.spaces import ensure_space, list_spaces, open_space
from protea_ray.store.sql import among, equals
from protea_ray.store.tables import count_rows, ensure_table, open_table
from tests.store import build, rich

HOSTILE = ["' OR 1=1 --", "a\\", "a\\'b", "it's", "''", "é", "x\ny", "%", '"q"', "`b`", "plain", "X'00'"]


def test_a_location_is_one_spelling_and_creates_nothing(tmp_path: Path) -> None:
    location = open_location(f"{tmp_path}/s/")
    assert location.uri == f"{tmp_path}/s"
    assert open_location(f"file://{tmp_path}/s").uri == location.uri
    assert open_location("s3://bucket/a/").table("proteins") == "s3://bucket/a/proteins.lance"
    assert location.tables() == []
    assert not location.exists("proteins")
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\\b", "a..b", ".hidden", "x.lance", "a b", "a\n", "x" * 201])
def test_a_table_name_stays_inside_the_store(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match="not a table name"):
        open_location(tmp_path).table(name)


@pytest.mark.parametrize("uri", ["s3://key:secret@bucket/x", "s3://bucket/x?secret=1", " "])
def test_credentials_do_not_travel_in_the_uri(uri: str) -> None:
    with pytest.raises(StoreError) as caught:
        open_location(uri)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", HOSTILE)
def test_a_string_in_a_filter_is_that_string_or_nothing(tmp_path: Path, value: str) -> None:
    others = [v for v in HOSTILE if v != value]
    uri = f"{tmp_path}/t.lance"
    build.writer().append_table(uri, pa.table({"id": others}))
    assert open_table(uri).count_rows(equals("id", value)) == 0
    build.writer().append_table(uri, pa.table({"id": [value]}))
    assert open_table(uri).to_table(filter=equals("id", value))["id"].to_pylist() == [value]
    assert open_table(uri).to_table(filter=among("id", [value, value]))["id"].to_pylist() == [value]
    assert open_table(uri).count_rows(among("id", [])) == 0


def test_a_nul_is_refused_in_a_filter() -> None:
    with pytest.raises(StoreError, match="NUL"):
        equals("id", "a\0b")


def test_a_space_gives_back_its_vectors_and_residues(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(12), per_unit=4, with_residues=True)
    table = open_table(location.table("esm2-00000001"))
    found = table.to_table(columns=["key", "mean", "n_residues", "unit"])
    assert [k.as_py() for k in found["key"]] == [build.key(n) for n in range(12)]
    vectors = np.array(found["mean"].to_pylist(), np.float32)
    assert np.array_equal(vectors, np.array([build.vector(n) for n in range(12)]))
    for (_, raw), number in zip(table.read_blobs("residues", indices=[0, 5, 11]), [0, 5, 11], strict=True):
        assert np.array_equal(np.frombuffer(raw, np.float32).reshape(-1, build.WIDTH), build.residues(number))
    assert ledger.units(location, "esm2-00000001") == {"r1.0": 4, "r1.4": 4, "r1.8": 4}


def test_half_precision_is_stored_as_such(tmp_path: Path) -> None:
    of = build.schema(dtype="float16")
    table = build.rows([1, 2], "u", of)
    assert table.schema.field("mean").type == pa.list_(pa.float16(), build.WIDTH)
    assert np.allclose(table["mean"].to_pylist(), [build.vector(1), build.vector(2)], atol=1e-3)


def chunked(of: pa.Schema, **changes: object) -> pa.Table:
    values = {
        "keys": [b"k" * 16, b"l" * 16],
        "unit": "u",
        "spans": [np.array([(0, 6), (4, 10)]), np.array([(0, 3)])],
        "n_residues": [10, 3],
        "n_residues_seen": [10, 3],
        "n_windows": [2, 1],
        "truncated": [False, False],
        "vectors": {"mean": [np.ones((2, 4)), np.zeros((1, 4))]},
        "residues": [np.ones((6, 4)), np.ones((6, 4)), np.zeros((3, 4))],
    }
    return space_rows(of, **{**values, **changes})  # type: ignore[arg-type]


def test_a_chunked_protein_has_a_row_per_chunk() -> None:
    table = chunked(space_schema({"mean": 4}, "float32", 4, {}))
    assert table["key"].to_pylist() == [b"k" * 16, b"k" * 16, b"l" * 16]
    assert table["chunk_start"].to_pylist() == [0, 4, 0]
    assert table["chunk_end"].to_pylist() == [6, 10, 3]
    assert table["n_windows"].to_pylist() == [2, 2, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vectors": {"mean": [np.ones((2, 5)), np.zeros((1, 5))]}}, "the space wants"),
        ({"vectors": {"mean": [np.full((2, 4), np.nan), np.zeros((1, 4))]}}, "not finite"),
        ({"vectors": {"mean": [np.full((2, 4), 1e6), np.zeros((1, 4))]}}, "not finite as float16"),
        ({"residues": [np.ones((5, 4)), np.ones((6, 4)), np.zeros((3, 4))]}, "matrices are"),
    ],
)
def test_rows_that_are_not_the_spaces_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(StoreError, match=message):
        chunked(space_schema({"mean": 4}, "float16", 4, {}), **changes)


def test_a_fragment_is_invisible_until_it_is_committed(tmp_path: Path) -> None:
    uri = f"{tmp_path}/s/proteins.lance"
    commit = write_fragments(uri, build.proteins(range(5)), PROTEINS_SCHEMA)
    assert count_rows(uri) == 0
    build.writer().append(uri, commit)
    assert count_rows(uri) == 5


def test_no_rows_are_no_fragments(tmp_path: Path) -> None:
    uri = f"{tmp_path}/proteins.lance"
    assert write_fragments(uri, PROTEINS_SCHEMA.empty_table(), PROTEINS_SCHEMA) == []
    assert (
        write_fragments(uri, lambda: pa.RecordBatchReader.from_batches(PROTEINS_SCHEMA, iter(())), PROTEINS_SCHEMA)
        == []
    )


def test_what_a_reader_raises_comes_out_as_it_was(tmp_path: Path) -> None:
    calls = []

    def opened() -> pa.RecordBatchReader:
        calls.append(1)

        def batches():
            yield from build.proteins(range(3)).to_batches()
            raise InputError("a.fasta: line 9")

        return pa.RecordBatchReader.from_batches(PROTEINS_SCHEMA, batches())

    with pytest.raises(InputError, match="line 9"):
        write_fragments(f"{tmp_path}/proteins.lance", opened, PROTEINS_SCHEMA)
    assert len(calls) == 1


def test_a_repeated_attempt_reads_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from protea_ray.store import commit

    real, calls = commit.lance_write_fragments, []

    def failing(reader, *args, **kwargs):
        calls.append(1)
        if len(calls) == 1:
            reader.read_next_batch()  # consumed, then the store refuses
            raise OSError("503")
        return real(reader, *args, **kwargs)

    monkeypatch.setattr(commit, "lance_write_fragments", failing)
    uri = f"{tmp_path}/proteins.lance"
    build.writer().append(uri, write_fragments(uri, build.proteins(range(20)), PROTEINS_SCHEMA))
    assert count_rows(uri) == 20


def test_another_space_is_refused_and_the_difference_named(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s")
    other = build.info(identity={**build.info().identity, "files": {"model.safetensors": "cd" * 32}})
    with pytest.raises(StoreError, match=r"files\.model\.safetensors is .abab.*there, .cdcd"):
        ensure_space(location, other, build.schema())
    with pytest.raises(StoreError, match="mean: fixed_size_list"):
        ensure_space(location, build.info(), space_schema({"mean": 9}, "float32", None, {}))
    with pytest.raises(StoreError, match="cannot be a space"):
        ensure_space(location, build.info("proteins"), build.schema())
    assert ensure_space(location, build.info(run="later"), build.schema()).run == "r1"


def test_spaces_describe_themselves(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s")
    assert open_space(location, "esm2-00000001") == build.info()
    assert [s.name for s in list_spaces(location)] == ["esm2-00000001"]
    for name in ("nothing", "proteins"):
        with pytest.raises(UnknownSpaceError, match="spaces: esm2-00000001"):
            open_space(location, name)
    ensure_table(location.table("someone_elses"), pa.schema([("x", pa.int8())]))
    assert [s.name for s in list_spaces(location)] == ["esm2-00000001"]
    with pytest.raises(StoreError, match="other columns"):
        ensure_space(location, build.info("someone_elses"), build.schema())


def test_the_ledger_reads_the_tables(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(10))
    space = "esm2-00000001"
    assert [k.as_py() for b in ledger.present_keys(location, space) for k in b] == [build.key(n) for n in range(10)]
    assert list(ledger.present_keys(location, "absent")) == []
    assert len(ledger.rejected_keys(location, space)) == 0
    reject = {"id": "x", "key": build.key(77), "source": "a", "line": 1, "stage": "embed", "reason": "r",
              "detail": "", "attempts": 1, "run": "r1", "space": space}  # fmt: skip
    ingest_reject = {**reject, "stage": "ingest", "key": build.key(78), "space": None}
    table = pa.Table.from_pylist([reject, reject, ingest_reject, {**reject, "space": "other"}], REJECTS_SCHEMA)
    build.writer().append_table(location.table("rejects"), table)
    assert ledger.rejected_keys(location, space).to_pylist() == [build.key(77)]


@pytest.mark.parametrize("name", rich.SPACES)
def test_a_protein_in_chunks_is_there_once(rich_location: Location, name: str) -> None:
    present = [key.as_py() for batch in ledger.present_keys(rich_location, name) for key in batch]
    assert sorted(present) == sorted(rich.keys(rich_location, name))
    counted = {space.name: (space.keys, space.rows) for space in open_store(rich_location.uri).status().spaces}
    assert counted[name] == (len(present), count_rows(rich_location.table(name)))


@pytest.mark.parametrize(
    ("asked", "columns"),
    [
        (["mean"], ("mean",)),
        (["cls", "none"], ("cls",)),
        (["mean", "cls", "max"], ("mean", "cls", "max")),
        (["none"], ()),
    ],
)
def test_poolings_of_a_space_are_its_columns_of_vectors(asked: list[str], columns: tuple[str, ...]) -> None:
    assert build.info(config={"pooling": asked}).poolings == columns


def test_columns_of_every_table_that_may_be_null() -> None:
    """Nothing else: a file on disk keeps this for ever, and other programs rely on it."""
    space = space_schema({"mean": 4}, "float16", 4, {}, ["A"])
    tables = {"space": space, "proteins": PROTEINS_SCHEMA, "rejects": REJECTS_SCHEMA, "sources": SOURCES}

    free = {name: [f.name for f in schema if f.nullable] for name, schema in tables.items()}

    assert free == {"space": [], "proteins": [], "rejects": ["key", "space"], "sources": []}


def test_proteins_are_read_by_source_and_by_row(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(10))
    build.ingest(location, build.proteins(range(10, 16), "it's b#2"), "it's b#2", "d2")
    found = pa.Table.from_batches(ledger.scan_proteins(location, ["it's b#2"], ["id", "length"]))
    assert found["id"].to_pylist() == [f"P{n:05d}" for n in range(10, 16)]
    picked = [found["_rowid"][i].as_py() for i in (5, 0, 3)]
    taken = ledger.take_proteins(location, picked, ["id", "sequence"])
    assert taken["id"].to_pylist() == ["P00015", "P00010", "P00013"]
    assert sum(batch.num_rows for batch in ledger.scan_proteins(location, None, ["id"])) == 16
    assert sum(batch.num_rows for batch in ledger.scan_proteins(location, [], ["id"])) == 0
    assert list(ledger.scan_proteins(open_location(tmp_path / "new"), None, ["id"])) == []


def test_runs_are_told_newest_first(tmp_path: Path) -> None:
    location = open_location(tmp_path / "s")
    assert last_run(location) is None
    for stored in (1, 2):
        record_run(location, new_run_id(), {"stored": stored}, writer=build.writer())
    found = last_run(location)
    assert found is not None
    assert found["summary"] == {"stored": 2}
