"""Labels join by id, and every one that does not is counted by the reason."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from protea_ray.errors import ConfigError, InputError, ProteaRayError
from protea_ray.query.reader import Store, open_store
from protea_ray.query.training.labels import read_labels
from tests.query.training import helpers
from tests.store import build


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Thirty embedded proteins, and P00100 to P00104 that have no vector yet."""
    found = helpers.make(tmp_path_factory.mktemp("labels"), 30)
    build.ingest(found.location, build.proteins(range(100, 105), "b"), "b", "d2")
    return found


def test_labels_come_with_their_proteins_and_losses_are_counted(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    table = helpers.labels([*range(10), 100, 101, 900])
    blank = pa.table({"id": ["P00020", "P00021"], "label": pa.nulls(2, pa.int64())})
    with caplog.at_level(logging.WARNING, "protea_ray"):
        data = store.torch(labels=pa.concat_tables([table, blank]), batch_size=100)
    (batch,) = data
    assert batch["label"].tolist() == [helpers.number(id) % 7 for id in batch["id"]]
    assert sorted(batch["id"]) == [f"P{n:05d}" for n in range(10)]
    report = data.report
    assert report is not None
    assert (report.ids, report.used, report.unknown, report.without_vector, report.blank) == (15, 10, 1, 2, 2)
    assert report.ids == report.used + report.unknown + report.without_vector + report.blank
    assert report.unlabelled == 20
    assert report.unknown_ids == ("P00900",)
    assert "10 of 15 labelled ids are used; 1 unknown (P00900, ...), 2 without a vector, 2 without" in caplog.text


def test_labels_that_all_join_are_no_warning(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "protea_ray"):
        store.torch(labels=helpers.labels(range(30)), batch_size=100)
    assert not caplog.records


@pytest.mark.parametrize("blanks", [1, 2, 3])
@pytest.mark.parametrize("unknown", [[], [800, 801]])
def test_labels_without_a_value_are_a_warning(
    store: Store, caplog: pytest.LogCaptureFixture, blanks: int, unknown: list[int]
) -> None:
    missing = pa.table({"id": [f"P{20 + n:05d}" for n in range(blanks)], "label": pa.nulls(blanks, pa.int64())})
    labels = pa.concat_tables([helpers.labels([*range(10), *unknown]), missing])
    with caplog.at_level(logging.INFO, "protea_ray"):
        store.torch(labels=labels, batch_size=100)
    (said,) = [entry for entry in caplog.records if "labelled ids are used" in entry.message]
    assert said.levelno == logging.WARNING
    assert f"{len(unknown)} unknown" in said.message
    assert f"{blanks} without a value" in said.message


def test_what_the_filter_leaves_out_is_not_unknown(store: Store) -> None:
    labels = pa.concat_tables([helpers.labels(range(30)), helpers.labels([500])])
    report = store.torch(labels=labels, where="id < 'P00010'", batch_size=100).report
    assert report is not None
    assert (report.ids, report.used, report.unknown, report.filtered, report.without_vector) == (31, 10, 1, 20, 0)
    assert report.unknown_ids == ("P00500",)
    assert "20 not in the filter" in str(report)


UNIPROT = (
    "sp|P68871|HBB_HUMAN",
    "tr|A0A1K0GGH2|A0A1K0GGH2_USTBR",
    "ref|NP_000509.1|",
    "sp|Q9NQX1|A_B",
    "tr|Q9NQX1|C_D",
)


@pytest.fixture(scope="module")
def headers(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Proteins 0 to 4 under whole FASTA headers; the last two share an accession."""
    location = build.store(tmp_path_factory.mktemp("headers") / "s", [])
    build.ingest(location, build.proteins(range(5), "u#1", ids=UNIPROT), "u#1", "u1")
    build.fill(location, helpers.SPACE, range(5), "r1.u", build.schema())
    return open_store(location.uri)


def test_labels_by_accession_reach_the_proteins_of_headers(headers: Store, caplog: pytest.LogCaptureFixture) -> None:
    asked = {"P68871": 5, "A0A1K0GGH2_USTBR": 6, "NP_000509": 7, "Q9NQX1": 8, "P00000": 9}
    labels = pa.table({"id": list(asked), "y": list(asked.values())})
    data = headers.torch(labels=labels, batch_size=10)
    (batch,) = data
    assert dict(zip(batch["id"], batch["y"].tolist(), strict=True)) == dict(zip(UNIPROT[:3], [5, 6, 7], strict=True))
    report = data.report
    assert report is not None
    assert (report.ids, report.used, report.unknown, report.ambiguous) == (5, 3, 1, 1)
    for said in ("matched by accession (P68871 is sp|P68871|HBB_HUMAN)", "matched by UniProt entry name",
                 "without its version (NP_000509 is ref|NP_000509.1|)",
                 "'Q9NQX1' may be sp|Q9NQX1|A_B or tr|Q9NQX1|C_D", "1 of several stored ids"):  # fmt: skip
        assert said in caplog.text


def test_two_names_of_one_protein_and_labels_that_join_nothing_are_errors(headers: Store) -> None:
    twice = pa.table({"id": ["P68871", "sp|P68871|HBB_HUMAN"], "y": [1, 1]})
    with pytest.raises(InputError, match=r"P68871 and sp\|P68871\|HBB_HUMAN are all sp\|P68871\|HBB_HUMAN"):
        headers.torch(labels=twice, batch_size=10)
    with pytest.raises(InputError, match=r"0 of 2 .*look like 'x1', 'x2'; .*its ids look like 'sp\|P68871\|HBB_HUMAN'"):
        headers.torch(labels=pa.table({"id": ["x1", "x2"], "y": [1, 2]}), batch_size=10)


@pytest.fixture(scope="module")
def corrected(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """P00001 was corrected from protein 1 to 20, and to 21, which has no vector; P00002 to 22 and back to 2."""
    location = build.store(tmp_path_factory.mktemp("corrected") / "s", range(6))
    releases = {"b": {"P00001": 20, "P00002": 22}, "c": {"P00001": 21}, "d": {"P00002": 2}}
    for name, ids in releases.items():
        build.ingest(location, build.proteins(list(ids.values()), name, ids=list(ids)), name, name)
    build.fill(location, helpers.SPACE, [20, 22], "r1.b", build.schema())
    return open_store(location.uri)


def test_the_newest_sequence_with_a_vector_carries_the_label(
    corrected: Store, caplog: pytest.LogCaptureFixture
) -> None:
    labels = pa.table({"id": ["P00001", "P00002", "P00003"], "y": [1, 2, 3]})
    data = corrected.torch(labels=labels, columns=["id", "length"], batch_size=10)
    (batch,) = data
    found = {id: (length, y) for id, length, y in zip(*(list(batch[n]) for n in ("id", "length", "y")), strict=True)}
    assert found == {id: (len(build.sequence(n)), y) for y, (id, n) in
                     enumerate({"P00001": 20, "P00002": 2, "P00003": 3}.items(), 1)}  # fmt: skip
    assert data.report is not None
    assert (data.report.used, data.report.several, data.report.several_ids) == (3, 2, ("P00001", "P00002"))
    assert "2 ids have several sequences, the newest is used (P00001, P00002)" in caplog.text


def test_no_data_set_is_empty_without_a_word(store: Store, tmp_path: Path) -> None:
    for options, words in (
        ({"where": "length > 5000"}, "no protein of the store passes"),
        ({"where": "id > 'P00099'"}, "none of the 5 protein records that were chosen has a vector"),
        ({"version": 1}, "holds no vector at version 1"),
        ({"world_size": 31}, "30 example.*fewer than world_size 31"),
        ({"drop_last": True, "world_size": 4, "batch_size": 8}, "drop_last leaves no batch"),
    ):
        with pytest.raises(ProteaRayError, match=words):
            store.torch(**{"batch_size": 4, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_files(store: Store, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"labels{suffix}"
    rows = [(f"P{n:05d}", n / 2, "odd" if n % 2 else "even") for n in range(12)]
    if suffix == ".parquet":
        ids, halves, kinds = map(list, zip(*rows, strict=True))
        pq.write_table(pa.table({"accession": ids, "half": halves, "kind": kinds}), path)
    else:
        mark = "," if suffix == ".csv" else "\t"
        path.write_text("\n".join(mark.join(map(str, r)) for r in [("accession", "half", "kind"), *rows]))
    (batch,) = store.torch(labels=read_labels(path, id_column="accession"), batch_size=100)
    assert batch["half"].tolist() == [helpers.number(id) / 2 for id in batch["id"]]
    assert batch["kind"] == ["odd" if helpers.number(id) % 2 else "even" for id in batch["id"]]
    (one,) = store.torch(labels=read_labels(path, id_column="accession", columns=["kind"]), batch_size=100)
    assert set(one) == {"id", "mean", "kind"}


def test_ids_stay_text(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("id,label\n00123,1\n1e5,0\n")
    assert read_labels(path).ids.to_pylist() == ["00123", "1e5"]


def test_an_id_with_two_labels_is_refused_and_a_repeated_row_is_not() -> None:
    same = pa.table({"id": ["a", "b", "a"], "label": [1, 2, 1]})
    assert read_labels(same).ids.to_pylist() == ["a", "b"]
    differ = pa.table({"id": ["a", "b", "a", "b"], "label": [1, 2, 1, 3]})
    with pytest.raises(InputError, match=r"1 id\(s\) have more than one label: b"):
        read_labels(differ)
    several = pa.table({"id": ["a", "b", "a"], "terms": [["x"], ["y"], ["x"]]})
    assert read_labels(several).columns["terms"].to_pylist() == [["x"], ["y"]]


def test_what_is_not_labels_is_said(store: Store, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    (tmp_path / "x.csv").write_text("name,label\na,1\n")
    (tmp_path / "x.parquet").write_text("not parquet")
    with pytest.raises(InputError, match="cannot be read as labels"):
        store.torch(labels=tmp_path / "nothing.csv", batch_size=1)
    with pytest.raises(InputError, match="cannot be read as labels"):
        store.torch(labels=tmp_path / "x.parquet", batch_size=1)
    with pytest.raises(InputError, match=r"from \.parquet, \.csv, \.tsv"):
        store.torch(labels=tmp_path / "x.json", batch_size=1)
    with pytest.raises(ConfigError, match="has no column id; it has name, label"):
        store.torch(labels=tmp_path / "x.csv", batch_size=1)
    with pytest.raises(ConfigError, match="read from the store: mean; rename"):
        store.torch(labels=pa.table({"id": ["P00001"], "mean": [1]}), batch_size=1)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_quote_in_a_tsv_of_labels_takes_no_row(tmp_path: Path, end: str) -> None:
    path = tmp_path / "labels.tsv"
    rows = ["id\tname\tlabel", 'u1\t"Rickettsia\t0.5', "u2\ttyphi\t1.5", 'u3\tspp."\t2.5', 'u4\t"whole"\t3.5']
    path.write_text("\ufeff" + end.join(rows) + end, newline="")
    labels = read_labels(path)
    assert labels.ids.to_pylist() == ["u1", "u2", "u3", "u4"]
    assert labels.columns.to_pydict() == {
        "name": ['"Rickettsia', "typhi", 'spp."', "whole"],
        "label": [0.5, 1.5, 2.5, 3.5],
    }


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("x.csv", 'id,name,label\nu1,"A,1\nu2,B",2\n', "x.csv:2: a quoted field begins here and takes in line 3"),
        ("x.csv", "id,label\nu1,1\nu2\nu3,1,2\n", "x.csv:3: the row has 1 columns, the header 2"),
        ("x.tsv", "# tool 1.0\nid\tlabel\nu1\t1\n", "x.tsv:1: a comment line"),
        ("x.csv", "id,label,id\nu1,1,u2\n", "more than one column 'id'"),
    ],
)
def test_rows_of_labels_that_do_not_fit_are_named(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as caught:
        read_labels(tmp_path / name)
    assert said in str(caught.value)


def test_quoted_labels_and_kinds_of_text(tmp_path: Path) -> None:
    notes = ["line\n" * 12, 'a "word"'] * 20_000  # above the 1 MiB that Arrow reads at a time
    frame = pd.DataFrame({"id": [f"{number:06d}" for number in range(len(notes))], "label": notes})
    frame.to_csv(tmp_path / "x.csv", index=False)
    assert read_labels(tmp_path / "x.csv").columns["label"].to_pylist() == frame["label"].tolist()
    enum = pl.DataFrame({"id": ["007", "u2", "u2"], "label": ["x", "y", "y"]}, schema_overrides={"id": pl.Categorical})
    views = enum.to_arrow(compat_level=pl.CompatLevel.newest())
    assert read_labels(views).ids.to_pylist() == ["007", "u2"]
    with pytest.raises(ConfigError, match="column 'id' holds list"):
        read_labels(pa.table({"id": [["u1"]], "label": [1]}))


@pytest.mark.parametrize("wish", [{"labels_where": {"split": "train"}}, {"classes": ["family"]}])
@pytest.mark.parametrize("method", ["torch", "dataset"])
def test_wishes_about_labels_need_labels(method: str, wish: dict[str, Any], tmp_path: Path) -> None:
    store = helpers.make(tmp_path, 20)
    with pytest.raises(ConfigError, match="need labels"):
        getattr(store, method)(**wish)
