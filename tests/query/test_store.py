"""Queries give the right proteins with the right vectors, in the order asked, from one version."""

from __future__ import annotations

import json
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest

from protea_ray.errors import ConfigError, StoreError, UnknownSpaceError
from protea_ray.query.reader import Store, open_store
from protea_ray.query.view import missing
from protea_ray.sequences.records import REJECTS_SCHEMA
from protea_ray.store import aliases
from protea_ray.store.rows import space_rows, space_schema
from protea_ray.store.runs import record_run
from protea_ray.store.spaces import ensure_space
from protea_ray.store.tables import open_table
from tests.store import build

SPACE = "esm2-00000001"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Forty proteins, all embedded with residues; P00003 came from two files, P00100 was rejected."""
    location = build.store(tmp_path_factory.mktemp("query") / "s", range(40), with_residues=True)
    again = build.proteins([3, 41, 5], "b.fasta#2", ids=["P00003", "' OR 1=1 --", "other name of 5"])
    build.ingest(location, again, "b.fasta#2", "d2")
    reject = {"id": "P00100", "key": None, "source": "b", "line": 7, "stage": "ingest", "reason": "letters",
              "detail": "'!' at 3", "attempts": 1, "run": "r1", "space": None}  # fmt: skip
    build.writer().append_table(location.table("rejects"), pa.Table.from_pylist([reject], REJECTS_SCHEMA))
    record_run(location, "r1", {"stored": 40}, writer=build.writer())
    return open_store(location.uri)


def vectors(table: pa.Table) -> np.ndarray:
    return np.array(table["mean"].to_pylist(), np.float32)


def test_no_store_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store at"):
        open_store(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_get_keeps_the_order_asked_for(store: Store) -> None:
    asked = ["P00031", "P00003", "nobody", "P00000", "P00031"]
    table = store.get(asked)
    assert table["id"].to_pylist() == ["P00031", "P00003", "P00000", "P00031"]
    assert np.array_equal(vectors(table), np.array([build.vector(n) for n in (31, 3, 0, 31)]))
    assert table.column_names == ["id", "key", "length", "description", "mean"]
    assert missing(table) == {"unknown": ["nobody"], "without_vector": []}


def test_get_by_key_and_by_one_id(store: Store) -> None:
    table = store.get("P00007", keys=[build.key(9), b"\0" * 16])
    assert table["id"].to_pylist() == ["P00007", "P00009"]
    assert missing(table)["unknown"] == ["00" * 16]
    assert store.get([]).num_rows == 0


def test_many_ids_are_asked_in_several_filters(store: Store) -> None:
    table = store.get([f"P{n:05d}" for n in range(2500, -1, -1)])
    assert table["id"].to_pylist() == [f"P{n:05d}" for n in range(39, -1, -1)]
    assert len(missing(table)["unknown"]) == 2501 - 40


def test_a_hostile_id_is_that_id_or_nothing(store: Store) -> None:
    table = store.get(["' OR 1=1 --", "' OR 'a'='a", 'x" OR 1=1'])
    assert table.num_rows == 0
    assert missing(table) == {"unknown": ["' OR 'a'='a", 'x" OR 1=1'], "without_vector": ["' OR 1=1 --"]}


def test_columns_are_chosen_and_unknown_ones_named(store: Store) -> None:
    table = store.get(["P00001"], columns=["sequence", "unit", "mean"])
    assert table.column_names == ["id", "key", "sequence", "unit", "mean"]
    assert table["sequence"].to_pylist() == [build.sequence(1)]
    with pytest.raises(ConfigError, match=r"unknown columns nope, worse.*known: id, key, .*mean"):
        store.get(["P00001"], columns=["nope", "worse", "mean"])
    with pytest.raises(ConfigError, match=r"\.residues\(id\)"):
        store.get(["P00001"], columns=["residues"])


def test_to_arrow_joins_everything_that_matches(store: Store) -> None:
    table = store.to_arrow(columns=["length", "mean"], where="length > 30 AND source LIKE 'a.fasta%'")
    wanted = [n for n in range(40) if len(build.sequence(n)) > 30]
    assert table["id"].to_pylist() == [f"P{n:05d}" for n in wanted]
    assert np.array_equal(vectors(table), np.array([build.vector(n) for n in wanted]))
    everything = store.to_arrow()
    assert everything.num_rows == 41  # 40, and the other name of 5; the second P00003 is the same record
    assert missing(everything)["without_vector"] == ["' OR 1=1 --"]


def test_a_bad_filter_says_what_would_be_right(store: Store) -> None:
    for sql in ("lenght > 3", "length >", "'"):
        with pytest.raises(ConfigError, match="Columns: id, key, length"):
            store.where(sql)
    assert store.where("length < 0").num_rows == 0


def expected_neighbours(number: int, among: list[int]) -> list[int]:
    query = build.vector(number)
    return sorted((n for n in among if n != number), key=lambda n: -float(build.vector(n) @ query))


def test_nearest_is_exact_and_leaves_the_query_out(store: Store) -> None:
    table = store.nearest("P00003", k=7)
    expected = expected_neighbours(3, list(range(40)))[:7]
    assert table["id"].to_pylist() == [f"P{n:05d}" for n in expected]
    similar = [float(build.vector(n) @ build.vector(3)) for n in expected]
    assert np.allclose(table["similarity"].to_pylist(), similar, atol=1e-5)
    assert table["rank"].to_pylist() == list(range(1, 8))
    ids = dict(zip(table["id"].to_pylist(), table["n_ids"].to_pylist(), strict=True))
    assert all(count == (2 if id == "P00005" else 1) for id, count in ids.items())
    assert store.nearest("P00003", k=1000).num_rows == 39


def test_nearest_among_those_that_match(store: Store) -> None:
    table = store.nearest("P00003", k=5, where="length > 30")
    allowed = [n for n in range(40) if len(build.sequence(n)) > 30]
    assert table["id"].to_pylist() == [f"P{n:05d}" for n in expected_neighbours(3, allowed)[:5]]


def test_vectors_of_any_length_and_several_poolings_are_compared_by_angle(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(30))
    of = space_schema({"max": 5, "mean": build.WIDTH}, "float32", None, {})
    ensure_space(location, build.info("raw"), of)
    lengths = [len(build.sequence(n)) for n in range(30)]
    columns = {"mean": [(1 + n) * build.vector(n) for n in range(30)], "max": [-build.vector(n, 5) for n in range(30)]}
    rows = space_rows(of, keys=[build.key(n) for n in range(30)], unit="u", spans=[(0, x) for x in lengths],
                      n_residues=lengths, n_residues_seen=lengths, n_windows=[1] * 30, truncated=[False] * 30,
                      vectors=columns)  # fmt: skip
    build.writer().append_table(location.table("raw"), rows)
    store = open_store(location.uri)
    for pooling, width in (("mean", build.WIDTH), ("max", 5)):
        expected = {n: float(build.vector(n, width) @ build.vector(4, width)) for n in range(30) if n != 4}
        ranked = [f"P{n:05d}" for n in sorted(expected, key=lambda n: -expected[n])]
        for where in (None, "length > 0"):
            found = store.nearest("P00004", k=29, space="raw", pooling=pooling, where=where)
            assert found["id"].to_pylist() == ranked
            assert np.allclose(found["similarity"].to_pylist(), sorted(expected.values(), reverse=True), atol=1e-5)


def test_nearest_says_why_there_is_nothing(store: Store) -> None:
    with pytest.raises(StoreError, match=r"no protein with the id 'P00100': rejected, letters"):
        store.nearest("P00100")
    with pytest.raises(StoreError, match="has no vector in space"):
        store.nearest("' OR 1=1 --")
    with pytest.raises(ConfigError, match="no pooling 'max'; it has mean"):
        store.nearest("P00003", pooling="max")


def test_residues_are_read_by_the_crop(store: Store) -> None:
    matrix = store.residues("P00012")
    whole = build.residues(12)
    assert matrix.shape == whole.shape
    assert np.array_equal(matrix[5:9], whole[5:9])
    assert np.array_equal(matrix[-3:], whole[-3:])
    assert np.array_equal(matrix[1:9:3], whole[1:9:3])
    assert np.array_equal(matrix[4], whole[4])
    assert np.array_equal(np.asarray(matrix), whole)
    assert matrix[9:9].shape == (0, build.WIDTH)
    with pytest.raises(IndexError):
        matrix[len(matrix)]
    with pytest.raises(StoreError, match="has 1 chunk"):
        store.residues("P00012", chunk=1)


def test_a_crop_of_a_long_protein_reads_only_its_own_bytes(tmp_path: Path) -> None:
    width, length = 64, 20_000
    whole = np.random.default_rng(0).normal(size=(length, width)).astype(np.float16)
    location = build.store(tmp_path / "s", [0])
    of = space_schema({}, "float16", width, {})
    ensure_space(location, build.info("long"), of)
    one = [length]
    rows = space_rows(of, keys=[build.key(0)], unit="u", spans=[(0, length)], n_residues=one, n_residues_seen=one,
                      n_windows=one, truncated=[False], vectors={}, residues=[whole])  # fmt: skip
    build.writer().append_table(location.table("long"), rows)
    view = open_store(location.uri).view("long")
    matrix = open_store(location.uri).residues("P00000", space="long")
    dataset = lance.dataset(view.vectors.uri)
    (blob,) = dataset.take_blobs("residues", indices=[0])
    assert blob is not None
    matrix._blob = blob
    dataset.io_stats_incremental()
    assert np.array_equal(matrix[100:200], whole[100:200])
    assert dataset.io_stats_incremental().read_bytes == 100 * width * 2


def test_chunks_join_and_search_by_the_best(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(12))
    of = space_schema({"mean": build.WIDTH}, "float32", None, {})
    chunked = build.info("chunked", config={**build.info().config, "chunk_size": 6})
    ensure_space(location, chunked, of)
    counts = [1 + n % 4 for n in range(12)]
    parts = [[build.vector(100 * n + c) for c in range(count)] for n, count in enumerate(counts)]
    lengths = [6 * c for c in counts]
    rows = space_rows(of, keys=[build.key(n) for n in range(12)], unit="u",
                      spans=[[(6 * c, 6 * c + 6) for c in range(count)] for count in counts], n_residues=lengths,
                      n_residues_seen=lengths, n_windows=[1] * 12, truncated=[False] * 12,
                      vectors={"mean": [np.array(p) for p in parts]})  # fmt: skip
    build.writer().append_table(location.table("chunked"), rows)
    store = open_store(location.uri)
    found = store.get(["P00006", "P00003"], space="chunked")
    assert found["id"].to_pylist() == ["P00006"] * 3 + ["P00003"] * 4
    assert found["chunk_start"].to_pylist() == [0, 6, 12, 0, 6, 12, 18]
    assert np.array_equal(vectors(found), np.array(parts[6] + parts[3]))
    best = {n: max(float(a @ b) for a in parts[7] for b in parts[n]) for n in range(12) if n != 7}
    expected = [f"P{n:05d}" for n in sorted(best, key=lambda n: -best[n])]
    for where in (None, "length > 0"):
        assert store.nearest("P00007", k=6, space="chunked", where=where)["id"].to_pylist() == expected[:6]


def test_current_is_an_alias_or_the_only_space(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(10))
    store = open_store(location.uri)
    assert store.pin().space == SPACE
    with pytest.raises(UnknownSpaceError, match=f"no space or alias 'x'; spaces: {SPACE}; aliases: none"):
        store.pin("x")
    ensure_space(location, build.info("second"), build.schema())
    with pytest.raises(UnknownSpaceError, match="2 spaces and no alias 'current'"):
        store.pin()
    aliases.move(location, "current", "second", run="r2", writer=build.writer())
    assert store.pin().space == "second"
    aliases.move(location, "current", SPACE, version=2, run="r3", writer=build.writer())
    assert (store.pin().space, store.pin().version) == (SPACE, 2)
    assert store.to_arrow().num_rows == 5
    assert store.to_arrow(version=3).num_rows == 10
    with pytest.raises(UnknownSpaceError):
        aliases.move(location, "current", "nowhere", run="r4", writer=build.writer())
    with pytest.raises(StoreError, match="name of a table"):
        aliases.move(location, "second", SPACE, run="r4", writer=build.writer())
    assert aliases.list_aliases(location)["current"].run == "r3"


def test_a_pin_reads_the_same_while_the_store_grows(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(10))
    store = open_store(location.uri)
    pin = store.pin()
    before = store.to_arrow(space=pin)
    build.ingest(location, build.proteins(range(10, 20), "b"), "b", "d2")
    build.fill(location, SPACE, range(10, 20), "r2.0", build.schema())
    open_table(location.table(SPACE)).optimize.compact_files()
    assert store.to_arrow(space=pin).equals(before)
    assert store.to_arrow().num_rows == 20
    recorded = json.loads((before.schema.metadata or {})[b"protea.pin"])
    assert recorded == pin.to_json()
    with pytest.raises(StoreError, match=r"version 99 of .*does not exist"):
        store.to_arrow(version=99)


def test_status_tells_what_is_there(store: Store) -> None:
    found = store.status()
    said = json.loads(json.dumps(found.to_json()))
    assert {t["name"]: t["rows"] for t in said["tables"]} == {
        "lease": 0, "proteins": 43, "rejects": 1, "runs": 1, "sources": 2, SPACE: 40,
    }  # fmt: skip
    assert all(t["bytes"] > 0 for t in said["tables"])
    (space,) = said["spaces"]
    assert (space["keys"], space["rows"], space["family"], space["trained"]) == (40, 40, "esm2", True)
    assert (space["widths"], space["residue_width"]) == ({"mean": 8}, 8)
    assert said["rejects"] == {"letters": 1}
    assert said["last_run"]["summary"] == {"stored": 40}
    assert said["writer"] is None
    assert said["proteins"] == 43


def test_status_is_shown_in_words(store: Store) -> None:
    """The same in a terminal and in a notebook: records, each space with its rows, rejects by reason, the last run."""
    shown, page = repr(store.status()), store.status()._repr_html_()
    for said in ("43 protein records", "proteins", SPACE, "40", "rejected: letters 1 (`protea-ray rejects"):
        assert said in shown
        assert said in page
    assert shown.startswith(f"{store.uri}: 43 protein records\n")
    assert any(line.startswith("last run: ") for line in shown.splitlines())
