"""What is written for other programs is what the store holds."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from protea_ray.errors import ConfigError, StoreError
from protea_ray.query import export as exports
from protea_ray.query.export import export
from protea_ray.query.file_formats import endings
from protea_ray.query.reader import Store, open_store
from protea_ray.query.rejected import write_rejects
from protea_ray.sequences.records import REJECTS_SCHEMA
from protea_ray.store.spaces import ensure_space
from tests.store import build


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Twenty proteins with half-precision vectors and residues; 20 and 21 were rejected, one with an ugly id."""
    location = build.store(tmp_path_factory.mktemp("export") / "s", range(20), with_residues=True)
    of = build.schema(dtype="float16")
    ensure_space(location, build.info("half"), of)
    build.fill(location, "half", range(20), "u", of)
    build.ingest(location, build.proteins([20, 21], "b", ids=["P00020", "../x\n>y"]), "b", "d2")
    reject = {"id": "x", "key": None, "source": "b", "line": 1, "stage": "embed", "reason": "non_finite",
              "detail": "NaN", "attempts": 1, "run": "r1", "space": "half"}  # fmt: skip
    rows = [{**reject, "key": build.key(20)}, {**reject, "key": build.key(21)},
            {**reject, "stage": "ingest", "space": None}]  # fmt: skip
    build.writer().append_table(location.table("rejects"), pa.Table.from_pylist(rows, REJECTS_SCHEMA))
    return open_store(location.uri)


def half(number: int) -> np.ndarray:
    return build.vector(number).astype(np.float16)


@pytest.mark.parametrize("at_once", [7, 100])
def test_parquet_in_single_precision_is_exact(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(exports, "_AT_ONCE", at_once)
    done = export(store, tmp_path / "v.parquet", space="half", float32=True)
    assert (done.rows, done.left_out) == (20, 2)
    table = pq.read_table(tmp_path / "v.parquet")
    assert table.schema.field("mean").type.value_type == pa.float32()
    assert table["id"].to_pylist() == [f"P{n:05d}" for n in range(20)]
    assert np.array_equal(np.array(table["mean"].to_pylist(), np.float32), [half(n) for n in range(20)])
    assert b"protea.pin" in table.schema.metadata


def test_parquet_keeps_half_precision(store: Store, tmp_path: Path) -> None:
    export(store, tmp_path / "v.parquet", space="half", where="length > 30")
    table = pq.read_table(tmp_path / "v.parquet")
    assert table.schema.field("mean").type.value_type == pa.float16()
    assert table["id"].to_pylist() == [f"P{n:05d}" for n in range(20) if len(build.sequence(n)) > 30]


def test_npz_needs_no_pickle(store: Store, tmp_path: Path) -> None:
    export(store, tmp_path / "v.npz", space="half")
    with np.load(tmp_path / "v.npz", allow_pickle=False) as found:
        assert found["id"].tolist() == [f"P{n:05d}" for n in range(20)]
        assert found["key"][3].tobytes() == build.key(3)
        assert np.array_equal(found["mean"], [half(n) for n in range(20)])
        assert found["span"][3].tolist() == [0, len(build.sequence(3))]


def test_hdf5_for_biotrainer(store: Store, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    export(store, tmp_path / "v.h5", space="half")
    with h5py.File(tmp_path / "v.h5") as file:
        found = {dataset.attrs["original_id"]: dataset[:] for dataset in file.values()}
    assert set(found) == {f"P{n:05d}" for n in range(20)}
    assert np.array_equal(found["P00007"], half(7))
    export(store, tmp_path / "r.h5", space="esm2-00000001", pooling="none")
    with h5py.File(tmp_path / "r.h5") as file:
        found = {dataset.attrs["original_id"]: dataset[:] for dataset in file.values()}
    assert np.array_equal(found["P00007"], build.residues(7))
    with pytest.raises(ConfigError, match="keeps no residue matrices"):
        export(store, tmp_path / "x.h5", space="half", pooling="none")


@pytest.mark.filterwarnings("ignore")  # anndata's own
def test_anndata(store: Store, tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata", reason="anndata is not installed")
    export(store, tmp_path / "v.h5ad", space="half")
    found = anndata.read_h5ad(tmp_path / "v.h5ad")
    assert found.obs_names.tolist() == [f"P{n:05d}" for n in range(20)]
    assert np.array_equal(found.X, np.array([half(n) for n in range(20)], np.float32))
    assert found.obs["length"].tolist() == [len(build.sequence(n)) for n in range(20)]
    about = {name: found.uns[name] for name in ("space", "pooling", "model", "trained")}
    assert about == {"space": "half", "pooling": "mean", "model": "m", "trained": True}


def test_rejects_as_fasta(store: Store, tmp_path: Path) -> None:
    done = write_rejects(store.location, store.rejects(space="half"), tmp_path / "r.fasta")
    assert (done.rows, done.left_out) == (2, 1)
    lines = (tmp_path / "r.fasta").read_text().split("\n")
    headers = [line for line in lines if line.startswith(">")]
    assert headers == [">P00020 non_finite: NaN", ">../x >y non_finite: NaN"]
    assert "".join(lines[1 : lines.index(headers[1])]) == build.sequence(20)


def test_long_rejects_keep_every_residue_on_one_line(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(2))
    letters = [build.sequence(70 + n) * 9 for n in range(3)]
    letters = [letters[0][:60], letters[1][:61], letters[2][:180]]
    keys = [hashlib.sha256(s.encode()).digest()[:16] for s in letters]
    table = build.proteins(range(3), "long", ids=["l60", "l61", "l180"])
    for name, values in (("sequence", pa.array(letters)), ("key", pa.array(keys, table.schema.field("key").type))):
        table = table.set_column(table.schema.names.index(name), table.schema.field(name), values)
    build.ingest(location, table, "long", "d2")
    reject = {"id": "x", "source": "b", "line": 1, "stage": "embed", "reason": "too_long", "detail": "", "attempts": 1,
              "run": "r1", "space": "esm2-00000001"}  # fmt: skip
    rows = pa.Table.from_pylist([{**reject, "key": key} for key in keys], REJECTS_SCHEMA)
    build.writer().append_table(location.table("rejects"), rows)

    assert write_rejects(location, open_store(location.uri).rejects(), tmp_path / "r.fasta").rows == 3
    records = (tmp_path / "r.fasta").read_text().removeprefix(">").split("\n>")
    found = {record.split()[0]: "".join(record.split("\n")[1:]) for record in records}
    assert found == dict(zip(["l60", "l61", "l180"], letters, strict=True))
    assert {record.count("\n") for record in records[:-1]} == {1}  # letters on one line, for readers that know no other


def test_nothing_to_write_is_an_error_and_leaves_no_file(store: Store, tmp_path: Path) -> None:
    for choice in ({"ids": ["NOPE", "sp|P31946|X_Y"]}, {"ids": []}, {"where": "length > 5000"}, {"ids": ["P00020"]}):
        with pytest.raises(StoreError, match=r"written|to write"):
            export(store, tmp_path / "v.parquet", space="half", **choice)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_said(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.parquet, \.arrow, \.csv, .*\.pt, \.fasta"):
        export(store, tmp_path / "v.txt", space="half")
    with pytest.raises(ConfigError, match="no pooling 'max'"):
        export(store, tmp_path / "v.npz", space="half", pooling="max")
    with pytest.raises(ConfigError, match="Columns:"):
        export(store, tmp_path / "v.parquet", space="half", where="nope = 1")


def test_what_would_stop_an_export_is_said_before_anything_is_read(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "view", lambda *_: pytest.fail("the store was read"))
    with pytest.raises(ConfigError, match="2 problem") as caught:
        export(store, tmp_path / "no" / "v.txt", space="half")
    assert "no is not a directory" in str(caught.value)
    monkeypatch.setattr(endings, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"h5py is not installed; pip install 'protea-ray\[bio\]'"):
        export(store, tmp_path / "v.h5", space="half")


def test_ids_choose_proteins_and_unknown_ones_are_named(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "_IDS_OF_ONE_FILTER", 2)
    wanted = ["P00007", "' OR 1=1 --", "P00003", "P00020", "P00007"]
    done = store.export(tmp_path / "v.parquet", space="half", ids=wanted)
    assert (done.rows, done.left_out, done.unknown) == (2, 1, ("' OR 1=1 --",))
    assert set(pq.read_table(tmp_path / "v.parquet")["id"].to_pylist()) == {"P00003", "P00007"}

    short = [n for n in range(20) if len(build.sequence(n)) <= 30]
    done = store.export(tmp_path / "v.npz", space="half", ids=[f"P{n:05d}" for n in range(20)], where="length <= 30")
    assert (done.rows, done.unknown) == (len(short), ())


def test_parquet_of_one_pooling(store: Store, tmp_path: Path) -> None:
    store.export(tmp_path / "v.parquet", space="half", pooling="mean")
    assert pq.read_table(tmp_path / "v.parquet").schema.names == ["id", "key", "length", "description", "mean"]
    with pytest.raises(ConfigError, match="no pooling 'max'"):
        store.export(tmp_path / "v.parquet", space="half", pooling="max")
