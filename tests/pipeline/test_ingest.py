"""Sources are read once each, many small ones to a task and to a commit; what cannot be read costs nobody else."""

from __future__ import annotations

import gzip
import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from protea_ray.cluster.progress import LineReporter
from protea_ray.config.run import RunOptions, run_config
from protea_ray.errors import InputError, LeaseLostError
from protea_ray.pipeline import ingest as ingesting
from protea_ray.pipeline import reading
from protea_ray.pipeline.dry_run import dry_run
from protea_ray.pipeline.embed import embed
from protea_ray.pipeline.ingest import Ingested, ingest, limit_suffix, scan_all
from protea_ray.pipeline.reading import LabelledPart, grouped, read_job
from protea_ray.sequences.inputs import Columns, expand, scan
from protea_ray.store import commit, retries
from protea_ray.store.location import open_location
from protea_ray.store.sources import SourceRow, record_sources
from tests.store import build
from tests.toy import ToySpec

LETTERS = "ACDEFGHIKLMNPQRSTVWY"


def protein(number: int) -> str:
    """Different letters for each number below 8,000."""
    return "MK" + "".join(LETTERS[number // 20**place % 20] for place in range(3))


def fastas(folder: Path, count: int, start: int = 0) -> None:
    """Files of one protein each."""
    folder.mkdir(exist_ok=True)
    for number in range(start, start + count):
        (folder / f"p{number:04}.fasta").write_text(f">p{number}\n{protein(number)}\n")


def broken_after_rows(folder: Path) -> Path:
    """A file that gives batches of good records (12 MB of text) before its compression turns out to be cut off."""
    whole = gzip.compress("".join(f">r{n} {'x' * 600}\n{protein(n % 8000)}\n" for n in range(20_000)).encode())
    path = folder / "k.fasta.gz"
    path.write_bytes(whole[: len(whole) * 9 // 10])
    return path


class Tables:
    """Where a job writes, and what its result would make visible."""

    def __init__(self, folder: Path) -> None:
        self.proteins, self.rejects = str(folder / "proteins.lance"), str(folder / "rejects.lance")

    def read(self, *paths: Path, limit: int | None = None, part_bytes: int = 1 << 20) -> dict[str, Any]:
        scans = [scan(expand([str(path)])[0], Columns(), part_bytes) for path in paths]
        job = [LabelledPart(number, f"s{number}", part) for number, found in enumerate(scans) for part in found.parts]
        return read_job(job, Columns(), "run", self.proteins, self.rejects, limit)

    def committed(self, result: dict[str, Any]) -> tuple[list[str], list[str]]:
        """The ids of proteins and rejects in the tables after a commit of the result."""
        rows = []
        for table, fragments in ((self.proteins, result["proteins"]), (self.rejects, result["rejects"])):
            if fragments:
                build.writer().append(table, fragments)
            rows.append(lance.dataset(table).to_table()["id"].to_pylist() if Path(table).exists() else [])
        return rows[0], rows[1]


def test_a_write_that_fails_once_counts_its_records_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fasta = tmp_path / "p.fasta"
    fasta.write_text(">a\nMKT\n>bad\nM-T\n>b\nMKV\n")
    calls, write = itertools.count(), commit.lance_write_fragments

    def fails_once(rows, *arguments, **options):
        if next(calls) == 0:
            list(rows)
            raise OSError("503 slow down")
        return write(rows, *arguments, **options)

    monkeypatch.setattr(commit, "lance_write_fragments", fails_once)
    monkeypatch.setattr(retries, "PAUSES", (0.0, 0.0))
    tables = Tables(tmp_path)
    result = tables.read(fasta)
    once = {"records": 3, "rejects": 1, "residues": 6, "reasons": {"illegal_letter": 1}}
    assert result["counts"] == [(0, once)]
    assert tables.committed(result) == (["a", "b"], ["bad"])


def test_many_rejects_are_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are written as soon as too many are held, and then no longer held."""
    monkeypatch.setattr(reading, "REJECTS_HELD", 8_000)
    fasta = tmp_path / "gaps.fasta"
    fasta.write_text("".join(f">g{n}\nM-K\n" for n in range(20_000)) + ">good\nMKT\n")
    tables = Tables(tmp_path)
    result = tables.read(fasta)
    counts = {"records": 20_001, "rejects": 20_000, "residues": 3, "reasons": {"illegal_letter": 20_000}}
    assert result["counts"] == [(0, counts)]
    assert len(result["rejects"]) == 3
    proteins, rejects = tables.committed(result)
    assert proteins == ["good"]
    assert sorted(rejects) == sorted(f"g{n}" for n in range(20_000))


def test_a_source_that_cannot_be_read_leaves_the_others_whole(tmp_path: Path) -> None:
    fastas(tmp_path, 3)
    (tmp_path / "gap.fasta").write_text(">gap\nM-K\n>fine\nMKW\n")
    paths = [*sorted(tmp_path.glob("p*.fasta")), tmp_path / "gap.fasta"]
    tables = Tables(tmp_path)
    result = tables.read(*paths[:2], broken_after_rows(tmp_path), *paths[2:])
    ((number, said),) = result["errors"]
    assert number == 2
    assert "k.fasta.gz: truncated or damaged gzip" in said
    assert [(n, counts["records"]) for n, counts in result["counts"]] == [(0, 1), (1, 1), (3, 1), (4, 2)]
    proteins, rejects = tables.committed(result)
    assert sorted(proteins) == ["fine", "p0", "p1", "p2"]
    assert rejects == ["gap"]


def test_a_fragment_holds_many_small_sources(tmp_path: Path) -> None:
    fastas(tmp_path, 20)
    result = Tables(tmp_path).read(*sorted(tmp_path.glob("*.fasta")))
    assert len(result["proteins"]) == 1
    assert len(result["counts"]) == 20


def test_with_a_limit_nothing_is_read_after_a_source_that_cannot_be(tmp_path: Path) -> None:
    fastas(tmp_path, 4)
    one, two, three, four = sorted(tmp_path.glob("*.fasta"))
    tables = Tables(tmp_path)
    result = tables.read(one, broken_after_rows(tmp_path), two, limit=19_000)
    assert [n for n, _ in result["counts"]] == [0]
    assert tables.committed(result)[0] == ["p0"]
    result = tables.read(one, two, three, four, limit=3)
    assert [(n, counts["records"]) for n, counts in result["counts"]] == [(0, 1), (1, 1), (2, 1), (3, 0)]


def test_small_items_are_grouped_by_count_and_bytes_and_large_ones_are_alone() -> None:
    sizes = [*[100] * 5_000, 5 << 20, *[900_000] * 40, 0, 7]
    groups = grouped(list(enumerate(sizes)), lambda item: item[1])
    assert sorted(itertools.chain.from_iterable(groups)) == list(enumerate(sizes))
    for group in groups:
        assert group == sorted(group)
        large = [size for _, size in group if size == 0 or size > reading.SMALL]
        assert not large or len(group) == 1
        assert sum(size for _, size in group) <= reading.GROUP_BYTES
        assert len(group) <= reading.GROUP_MOST
    assert 60 < len(groups) < 90
    assert len(grouped(range(40), lambda _: 10)) == 3


# with Ray

on_ray = pytest.mark.usefixtures("cluster")


def ingested(inputs: Path, store: Path, writer: commit.Writer | None = None, **options: Any) -> Ingested:
    location = open_location(store)
    sources = expand([str(inputs)], store=location.uri)
    return ingest(sources, location, RunOptions(**options), "r1", writer or build.writer())


def rows(store: Path, name: str) -> list[dict[str, Any]]:
    return lance.dataset(str(store / f"{name}.lance")).to_table().to_pylist()


@on_ray
def test_small_files_are_committed_together_and_known_the_next_time(tmp_path: Path) -> None:
    fastas(tmp_path / "in", 60)
    (tmp_path / "in" / "gap.fasta").write_text(">gap\nM-K\n")
    store = tmp_path / "s"
    first = ingested(tmp_path / "in", store)
    assert (first.records, first.rejects, first.read_now, len(set(first.labels))) == (61, 1, 61, 61)
    versions = {n: lance.dataset(str(store / f"{n}.lance")).version for n in ("proteins", "rejects", "sources")}
    assert max(versions.values()) <= 1 + 4  # four tasks
    assert len(lance.dataset(str(store / "proteins.lance")).get_fragments()) <= 4
    by_label = {row["source"]: row for row in rows(store, "sources")}
    assert by_label.keys() == set(first.labels)
    for row in rows(store, "proteins"):
        assert by_label[row["source"]]["uri"].endswith(f"/p{int(row['id'][1:]):04}.fasta")
    assert {(row["records"], row["proteins"], row["rejects"]) for row in by_label.values()} == {(1, 1, 0), (1, 0, 1)}

    fastas(tmp_path / "in", 5, start=60)
    again = ingested(tmp_path / "in", store)
    assert (again.records, again.rejects, again.read_now) == (66, 1, 5)
    assert Counter(row["id"] for row in rows(store, "proteins")) == {f"p{n}": 1 for n in range(65)}
    assert ingested(tmp_path / "in", store).labels == again.labels


@on_ray
def test_sources_wait_for_one_another_only_some_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three parts of a large source finish as one; a small one beside it does not wait for the end."""
    monkeypatch.setattr(reading, "SMALL", 100)
    monkeypatch.setattr(ingesting, "COMMIT_SECONDS", 0.0)
    monkeypatch.setattr(ingesting, "DRIVER_BYTES", 0)
    fastas(tmp_path / "in", 2)
    large = "".join(f">l{n}\n{protein(n)}\n" for n in range(300))
    (tmp_path / "in" / "large.fasta").write_text(large)
    done = ingested(tmp_path / "in", tmp_path / "s", part_bytes=1500)
    assert (done.records, done.read_now) == (302, 3)
    table = lance.dataset(str(tmp_path / "s" / "proteins.lance"))
    assert table.version == 3  # created; the small ones; the large one
    ids = [row["id"] for row in rows(tmp_path / "s", "proteins") if row["id"].startswith("l")]
    assert ids == [f"l{n}" for n in range(300)]


@on_ray
def test_what_can_be_read_is_stored_before_the_error(tmp_path: Path) -> None:
    fastas(tmp_path / "in", 6)
    broken_after_rows(tmp_path / "in")
    for _ in range(2):
        with pytest.raises(InputError, match=r"k\.fasta\.gz: truncated or damaged gzip"):
            ingested(tmp_path / "in", tmp_path / "s")
        assert Counter(row["id"] for row in rows(tmp_path / "s", "proteins")) == {f"p{n}": 1 for n in range(6)}


@on_ray
@pytest.mark.parametrize("commits", [1, 2, 3])
def test_a_driver_that_is_replaced_while_many_are_committed(tmp_path: Path, commits: int) -> None:
    """Before the rejects, the proteins or the rows in sources: nothing is there twice after the same command again."""
    fastas(tmp_path / "in", 20)
    (tmp_path / "in" / "gap.fasta").write_text(">gap\nM-K\n")
    left = itertools.count(1)

    def lost() -> None:
        if next(left) == commits:
            raise LeaseLostError("another driver took over")

    with pytest.raises(LeaseLostError):
        ingested(tmp_path / "in", tmp_path / "s", build.writer(lost))
    assert ingested(tmp_path / "in", tmp_path / "s").records == 21
    assert Counter(row["id"] for row in rows(tmp_path / "s", "proteins")) == {f"p{n}": 1 for n in range(20)}
    assert [row["id"] for row in rows(tmp_path / "s", "rejects")] == ["gap"]
    assert len(rows(tmp_path / "s", "sources")) == 21


@on_ray
def test_a_limit_counts_what_an_interrupted_run_recorded(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "in" / f"{name}.fasta").write_text("".join(f">{name}{n}\nMK{LETTERS[n]}{name}\n" for n in range(4)))
    sources = expand([str(tmp_path / "in")])
    scans, _ = scan_all(sources, Columns(), RunOptions(limit=6))
    limited = limit_suffix(scans, 6)
    label, location = ingesting.label_of(scans[0]) + limited, open_location(tmp_path / "s")
    tables = Tables(tmp_path / "s")
    first = tables.read(tmp_path / "in" / "a.fasta")
    record_sources(
        location,
        [SourceRow(label, scans[0].digest, f"id/sequence{limited}", "a.fasta", "fasta", 4, 0, 16)],
        protein_fragments=first["proteins"],
        reject_fragments=[],
        run="r0",
        writer=build.writer(),
    )
    done = ingested(tmp_path / "in", tmp_path / "s", limit=6)
    assert (done.records, done.read_now) == (6, 2)
    ids = [row["id"] for row in rows(tmp_path / "s", "proteins")]
    assert sorted(ids) == ["a0", "a1", "a2", "a3", "b0", "b1"]
    assert [row["records"] for row in rows(tmp_path / "s", "sources")] == [4, 2, 0]


@on_ray
def test_a_run_over_tables_without_rows_ends_well(tmp_path: Path, esm2: Path) -> None:
    schema = pa.schema([("id", pa.string()), ("sequence", pa.string())])
    (tmp_path / "in").mkdir()
    pq.ParquetWriter(tmp_path / "in" / "part-0.parquet", schema).close()
    (tmp_path / "in" / "header.csv").write_text("id,sequence\n")
    lance.write_dataset(schema.empty_table(), str(tmp_path / "in" / "none.lance"))
    store, config = str(tmp_path / "s"), run_config({"model": str(esm2)})
    assert dry_run([str(tmp_path / "in")], store, config, LineReporter(), ToySpec).records == 0
    for _ in range(2):
        summary = embed([str(tmp_path / "in")], store, config, LineReporter(), ToySpec)
        assert (summary.records, summary.spaces[0].stored) == (0, 0)
        assert len(rows(tmp_path / "s", "sources")) == 3
    (tmp_path / "in" / "p.fasta").write_text(">a\nMKV\n")
    assert dry_run([str(tmp_path / "in")], store, config, LineReporter(), ToySpec).records == 1
    assert embed([str(tmp_path / "in")], store, config, LineReporter(), ToySpec).spaces[0].stored == 1


def test_one_batch_of_small_sources_is_read_without_a_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray takes seconds to start a data set of one task; no cluster is there to ask."""

    def started(*_: Any, **__: Any) -> Any:
        raise AssertionError("a data set was started")

    monkeypatch.setattr(ingesting.ray.data, "from_items", started)
    monkeypatch.setattr(ingesting.ray, "get", lambda tasks: tasks)
    monkeypatch.setattr(ingesting, "remote", lambda function, **_: None)
    fastas(tmp_path / "in", 3)
    location = open_location(str(tmp_path / "s"))
    found = ingest(expand([str(tmp_path / "in")]), location, RunOptions(), "r1", build.writer())
    assert (found.records, found.read_now) == (3, 3)
    assert sorted(lance.dataset(location.table("proteins")).to_table()["id"].to_pylist()) == ["p0", "p1", "p2"]
