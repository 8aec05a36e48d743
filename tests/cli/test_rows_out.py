"""`query --format`, `query --out` and `rejects` as a person calls them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from protea_ray.sequences.records import REJECTS_SCHEMA
from protea_ray.store.location import Location
from tests.commands import call, call_json
from tests.query.test_rejected import embedding, reject
from tests.store import build


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> Location:
    """Thirty proteins in one space, and two rejects of another file."""
    made = build.store(tmp_path_factory.mktemp("rows") / "s", range(30))
    rows = pa.Table.from_pylist([reject(), embedding(40)], REJECTS_SCHEMA)
    build.writer().append_table(made.table("rejects"), rows)
    return made


def test_text_has_every_row_and_no_vectors(location: Location) -> None:
    done = call("query", location.uri, "--where", "length > 0", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["id"] for row in rows] == [f"P{n:05d}" for n in range(30)]
    assert list(rows[0]) == ["id", "length", "description", "key"]
    assert rows[7]["key"] == build.key(7).hex()


def test_vectors_come_when_asked_for(location: Location) -> None:
    done = call("query", location.uri, "--id", "P00004", "--format", "jsonl", "--vectors")
    (row,) = map(json.loads, done.stdout.splitlines())
    assert np.array_equal(np.array(row["mean"], np.float32), build.vector(4))
    found = call_json("query", location.uri, "--id", "P00004", "--vectors")
    assert np.array_equal(np.array(found["proteins"][0]["mean"], np.float32), build.vector(4))


def test_a_pipe_gets_the_whole_table(location: Location) -> None:
    done = call("query", location.uri, "--where", "length > 0")
    assert all(f"P{n:05d}" in done.stdout for n in range(30))
    assert "more;" not in done.stdout


def test_a_file_and_json_do_not_print_the_rows(location: Location, tmp_path: Path) -> None:
    out = tmp_path / "v.parquet"
    assert call_json("query", location.uri, "--where", "length > 0", "--out", out) == {
        "rows": 30, "out": str(out), "trained": True
    }  # fmt: skip
    assert np.array_equal(np.array(pq.read_table(out)["mean"].to_pylist(), np.float32)[3], build.vector(3))
    done = call("query", location.uri, "--id", "P00001", "--id", "NOPE", "--out", tmp_path / "v.npz", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout) == {
        "rows": 1, "out": str(tmp_path / "v.npz"), "unknown": ["NOPE"], "without_vector": [],
        "trained": True,
    }  # fmt: skip
    with np.load(tmp_path / "v.npz", allow_pickle=False) as arrays:
        assert arrays["id"].tolist() == ["P00001"]


def test_an_id_and_a_filter_are_both_obeyed(location: Location) -> None:
    longest = max(range(30), key=lambda n: len(build.sequence(n)))
    least = len(build.sequence(longest))
    ids = ["--id", "P00000", "--id", f"P{longest:05d}"]
    found = call_json("query", location.uri, *ids, "--where", f"length >= {least}")
    assert [row["id"] for row in found["proteins"]] == [f"P{longest:05d}"]


def test_neighbours_are_rows_or_letters_and_never_vectors(location: Location, tmp_path: Path) -> None:
    ask = ("query", location.uri, "--nearest", "P00003", "-k", 25)
    assert "25 rows written" in call(*ask, "--out", tmp_path / "n.tsv").stdout
    rows = list(csv.DictReader((tmp_path / "n.tsv").open(), delimiter="\t"))
    assert list(rows[0]) == ["rank", "id", "similarity", "length", "description", "n_ids", "key"]
    assert len(rows) == 25
    call(*ask, "--out", tmp_path / "n.fasta")
    text = (tmp_path / "n.fasta").read_text()
    assert text.startswith(f">{rows[0]['id']} protein")
    assert build.sequence(int(rows[0]["id"][1:])) in text.replace("\n", "")
    refused = call(*ask, "--out", tmp_path / "n.npz")
    assert refused.returncode == 2
    assert ".npz holds vectors, of which there are none here" in refused.stderr


def test_no_match_says_so_and_makes_no_file(location: Location, tmp_path: Path) -> None:
    none = ("query", location.uri, "--where", "length > 9999")
    plain, text = call(*none), call(*none, "--format", "tsv")
    assert (plain.returncode, plain.stdout) == (0, "0 proteins\n")
    assert (text.returncode, text.stdout.count("\n"), text.stderr) == (0, 1, "0 proteins\n")
    file = call(*none, "--out", tmp_path / "v.csv")
    assert file.returncode == 1
    assert "no protein to write" in file.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--format", "xls"], "--format xls: there are table, csv"),
        (["--format", "csv", "--json"], "name one"),
        (["--format", "csv", "--out", "v.tsv"], "is for standard output"),
        (["--vectors"], "a table has no room"),
        (["--vectors", "--out", "v.csv"], "--vectors is for standard output"),
        (["--out", "v.xlsx"], "the ending must be one of"),
        (["--out", "no/v.csv"], "is not a directory"),
    ],
)
def test_what_cannot_be_is_refused_before_the_store_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "store" / "proteins.lance").mkdir(parents=True)  # a table that cannot be opened
    done = call("query", "store", "--id", "P00001", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert why in done.stderr
    assert [item.name for item in tmp_path.iterdir()] == ["store"]


def test_rejects_are_counted_shown_and_written(location: Location, tmp_path: Path) -> None:
    done = call("rejects", location.uri)
    assert done.stdout.startswith("2 rejects: illegal_letter 1, too_long 1\n")
    assert "/data/a.fasta" in done.stdout
    assert "letter '-', residue 4" in done.stdout
    found = call_json("rejects", location.uri, "--reason", "illegal_letter")
    assert (found["rejects"], found["reasons"], found["rows"][0]["line"]) == (1, {"illegal_letter": 1}, 7)
    assert "2 of 2 rejects written" in call("rejects", location.uri, "--out", tmp_path / "r.csv").stdout
    assert [row["line"] for row in csv.DictReader((tmp_path / "r.csv").open())] == ["7", "40"]
    assert call("rejects", location.uri, "--out", tmp_path / "r.npz").returncode == 2
    none = call("rejects", location.uri, "--reason", "kills_worker", "--out", tmp_path / "none.csv")
    assert (none.returncode, none.stdout) == (0, f"0 rejects; {tmp_path / 'none.csv'} was not made\n")
    assert [item.name for item in tmp_path.iterdir()] == ["r.csv"]
