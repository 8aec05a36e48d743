"""Every format is read back with a reader of its users, bit for bit."""

from __future__ import annotations

import errno
import gzip
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from protea_ray.errors import ConfigError, StoreError
from protea_ray.exchange.formats import open_source
from protea_ray.exchange.vector_files import load
from protea_ray.query.file_formats import esm_folder
from protea_ray.query.file_formats.content import Content
from protea_ray.query.file_formats.endings import FORMATS, require_format, write_file
from protea_ray.query.reader import Store, open_store
from protea_ray.query.view import CHUNK
from protea_ray.store.spaces import ensure_space
from tests.store import build

IDS = ["sp|P1|A_B", "../up/x", 'q"uo,te', "007", "NA", "same", "SAME", "=1+1", "x" * 400, "tab\u00e4"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Ten proteins with ugly ids and half-precision vectors and residues, of a model whose name counts its layers."""
    location = build.store(tmp_path_factory.mktemp("formats") / "s", range(0))
    build.ingest(location, build.proteins(range(10), "b", IDS), "b", "d2")
    of = build.schema(build.WIDTH, "float16")
    model = {"model": "facebook/esm2_t33_650M_UR50D", "revision": None, "files": {}}
    ensure_space(location, build.info("half", checkpoint=model), of)
    build.fill(location, "half", range(10), "u", of, with_residues=True)
    return open_store(location.uri)


HALF = np.array([build.vector(n) for n in range(10)], np.float16)


@pytest.mark.parametrize(("ending", "separator"), [(".csv", ","), (".tsv", "\t"), (".csv.gz", ","), (".TSV.GZ", "\t")])
def test_pandas_reads_text_bit_for_bit(store: Store, tmp_path: Path, ending: str, separator: str) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    done = store.export(tmp_path / f"v{ending}", space="half")
    packed = "gzip" if ending.lower().endswith(".gz") else None
    with (tmp_path / f"v{ending}").open("rb") as file:
        frame = pandas.read_csv(file, sep=separator, dtype={"id": str}, keep_default_na=False, compression=packed)

    assert done.rows == len(frame) == 10
    assert frame["id"].tolist() == IDS
    assert frame["key"].tolist() == [build.key(n).hex() for n in range(10)]
    assert frame.columns.tolist() == ["id", "key", "length", "description", *(f"mean_{i}" for i in range(build.WIDTH))]
    values = frame[[f"mean_{i}" for i in range(build.WIDTH)]].to_numpy()
    assert np.array_equal(values.astype(np.float32), HALF.astype(np.float32))
    assert np.array_equal(values.astype(np.float16), HALF)


def test_json_lines_hold_every_value(store: Store, tmp_path: Path) -> None:
    store.export(tmp_path / "v.jsonl.gz", space="half")
    with gzip.open(tmp_path / "v.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    assert [row["id"] for row in rows] == IDS
    assert np.array_equal(np.array([row["mean"] for row in rows], np.float32), HALF.astype(np.float32))


def test_single_precision_text_is_exact(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32) * np.float32(1e-6)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), 4)
    rows = pa.table({"id": [str(n) for n in range(50)], "mean": vectors})
    for name in ("v.csv", "v.jsonl"):
        write_file(Content([rows.slice(0, 20), rows.slice(20)]), tmp_path / name, FORMATS[Path(name).suffix])
    lines = (tmp_path / "v.jsonl").read_text().splitlines()
    assert np.array_equal(np.array([json.loads(line)["mean"] for line in lines], np.float32), values)
    table = np.loadtxt(
        io.StringIO((tmp_path / "v.csv").read_text().replace('"', "")), np.float32, delimiter=",", skiprows=1
    )
    assert np.array_equal(table[:, 1:], values)


def test_an_arrow_file_keeps_half_precision_and_the_pin(store: Store, tmp_path: Path) -> None:
    store.export(tmp_path / "v.arrow", space="half")
    with pa.ipc.open_file(str(tmp_path / "v.arrow")) as file:
        table = file.read_all()
    assert table["id"].to_pylist() == IDS
    assert np.array_equal(table["mean"].combine_chunks().flatten().to_numpy().reshape(10, -1), HALF)
    assert json.loads(table.schema.metadata[b"protea.pin"])["space"] == "half"


def test_fasta_holds_the_letters(store: Store, tmp_path: Path) -> None:
    store.export(tmp_path / "v.fasta", space="half", ids=["007", "NA"])
    records = (tmp_path / "v.fasta").read_text().removeprefix(">").split("\n>")
    found = {record.split()[0]: "".join(record.split("\n")[1:]) for record in records}
    assert found == {"007": build.sequence(3), "NA": build.sequence(4)}


@pytest.mark.parametrize("pooling", ["mean", "none"])
def test_the_folder_of_fair_esm_is_read_back_by_the_import(store: Store, tmp_path: Path, pooling: str) -> None:
    done = store.export(tmp_path / "v.pt", space="half", pooling=pooling)
    files = list((tmp_path / "v.pt").iterdir())
    assert done.rows == len(files) == len({file.name.casefold() for file in files}) == 10
    assert all(file.is_file() for file in files)
    assert sorted(tmp_path.rglob("*")) == sorted([tmp_path / "v.pt", *files])  # no id became a path

    items = {item.id: item for item in open_source(tmp_path / "v.pt").items(33, None)}
    assert sorted(items) == sorted(IDS)
    for number, id in enumerate(IDS):
        if pooling == "mean":
            assert np.array_equal(items[id].vectors["mean"], HALF[number])
        else:
            assert np.array_equal(items[id].residues, build.residues(number).astype(np.float16))
    held = load(tmp_path / "v.pt" / "007.pt", "007.pt")
    assert list(held) == ["label", "mean_representations" if pooling == "mean" else "representations"]


def test_a_folder_is_never_written_over(store: Store, tmp_path: Path) -> None:
    (tmp_path / "v.pt").mkdir()
    store.export(tmp_path / "v.pt", space="half", ids=["007"])
    with pytest.raises(ConfigError, match=r"v\.pt exists; \.pt makes a folder"):
        store.export(tmp_path / "v.pt", space="half", ids=["NA"])
    assert [file.name for file in (tmp_path / "v.pt").iterdir()] == ["007.pt"]


def test_layers_are_counted_from_the_bottom_where_their_number_is_known(store: Store) -> None:
    assert esm_folder._layer(store.view("half")) == 33
    assert esm_folder._layer(None) == -1


def test_several_parts_are_one_file(store: Store, tmp_path: Path) -> None:
    whole = store.to_arrow(space="half", columns=["length", "description", *CHUNK, "mean", "sequence"])
    view = store.view("half")
    for ending, format in FORMATS.items():
        for library in format.libraries:
            pytest.importorskip(library, reason=f"{library} is not installed")
        pooling = "mean" if format.holds == "vectors" else ""
        parts = [whole.slice(0, 4), whole.slice(4, 0), whole.slice(4)]
        assert write_file(Content(parts, view, pooling), tmp_path / f"v{ending}", format) == 10
        write_file(Content([whole], view, pooling), tmp_path / f"w{ending}", format)
        if ending.split(".")[1] in ("csv", "tsv", "jsonl", "fasta"):
            assert (tmp_path / f"v{ending}").read_bytes()[20:] == (tmp_path / f"w{ending}").read_bytes()[20:]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("v.txt", "the ending must be one of"),
        ("csv", "the ending must be one of"),
        ("s3://bucket/v.csv", "is a URL"),
        ("no/v.csv", "is not a directory"),
        ("no/v.pt", "is not a directory"),
    ],
)
def test_what_cannot_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=why):
        require_format(path, "--out")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("before")

    def parts():
        yield pa.table({"id": ["a"]})
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StoreError, match="No space left on device"):
        write_file(Content(parts()), tmp_path / "v.csv", FORMATS[".csv"])
    assert (tmp_path / "v.csv").read_text() == "before"
    assert [item.name for item in tmp_path.iterdir()] == ["v.csv"]
