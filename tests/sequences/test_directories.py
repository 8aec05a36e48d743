"""What a directory gives: links, side files, parts without rows, stores, and the line on what was left aside."""

from __future__ import annotations

import gzip
import os
import socket
import threading
from pathlib import Path

import fsspec
import lance
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from protea_ray.errors import InputError
from protea_ray.sequences.inputs import expand, scan
from protea_ray.sequences.parts import Columns
from protea_ray.store.lease import Lease
from tests.sequences.reading import read, written
from tests.sequences.test_inputs import RECORD, refused
from tests.store import build

TABLE = pa.table({"id": ["a", "b"], "sequence": ["MKV", "MKL"]})


def below(root: Path, *inputs: str | Path, store: str | Path | None = None) -> list[str]:
    """Paths of the sources, relative to `root`."""
    sources = expand([str(given) for given in inputs or (root,)], store=None if store is None else str(store))
    return [source.uri.removeprefix(f"{root}/") for source in sources]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A directory with one FASTA."""
    folder = tmp_path / "data"
    folder.mkdir()
    written(folder, RECORD, "a.fasta")
    return folder


# links


def test_a_link_is_what_it_points_to(tmp_path: Path, data: Path) -> None:
    staged = tmp_path / "work" / "staged"
    staged.mkdir(parents=True)
    written(data, gzip.compress(RECORD * 2), "more.faa.gz")
    (staged / "one.fasta").symlink_to(data / "a.fasta")
    (staged / "two.faa.gz").symlink_to("../../data/more.faa.gz")
    (staged / "three.fasta").symlink_to("one.fasta")
    assert below(staged) == ["one.fasta", "three.fasta", "two.faa.gz"]
    assert below(staged, f"{staged}/*.fasta") == ["one.fasta", "three.fasta"]
    assert below(staged, staged / "three.fasta") == ["three.fasta"]
    assert read(staged).total == 4
    assert expand([str(staged / "two.faa.gz")])[0].size == (data / "more.faa.gz").stat().st_size


def test_linked_directories_are_followed_once_and_loops_end(tmp_path: Path, data: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    written(outside / "deep", RECORD, "b.fasta")
    (outside / "back").symlink_to(data)
    (data / "batch").symlink_to(outside)
    (data / "again").symlink_to(outside / "deep")
    (data / "self").symlink_to(".")
    (data / "z").mkdir()
    (data / "alias_of_z").symlink_to("z")
    written(data / "z", RECORD, "c.fasta")
    assert below(data) == ["a.fasta", "again/b.fasta", "z/c.fasta"]
    assert below(data, data / "batch") == ["batch/back/a.fasta", "batch/back/z/c.fasta", "batch/deep/b.fasta"]


@pytest.mark.parametrize("target", ["nowhere", "gone.fasta"])
def test_a_link_to_nothing_is_called_that(data: Path, target: str, caplog: pytest.LogCaptureFixture) -> None:
    (data / "gone.fasta").symlink_to(target)
    (data / "note").symlink_to("nowhere")
    for given in (data, data / "gone.fasta", f"{data}/g*.fasta"):
        assert "gone.fasta: is a link that points to nothing" in refused(given)
    (data / "gone.fasta").unlink()
    assert below(data) == ["a.fasta"]
    assert "note (is a link that points to nothing)" in caplog.text


def test_what_is_no_file_is_named_as_what_it_is(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    os.mkfifo(data / "tube")
    (data / "zero").symlink_to("/dev/zero")
    here = Path.cwd()
    os.chdir(data)  # the path of a socket is at most 107 bytes
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("plug")
        os.chdir(here)
        assert below(data) == ["a.fasta"]
    assert "left aside 3 file(s): plug (is a socket), tube (is a pipe), zero (is a device)" in caplog.text
    os.mkfifo(data / "b.fasta")
    assert "b.fasta: is a pipe" in refused(data)


def test_a_folder_that_cannot_be_listed_stops_the_run(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the data would be missing without a word."""
    for name in ("locked", "shut"):
        (data / name).mkdir()
    scandir = os.scandir

    def denied(path: str) -> object:
        if str(path).endswith(("locked", "shut")):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    said = refused(data)
    assert "data/locked: cannot be read (PermissionError" in said
    assert "data/shut: cannot be read" in said


def test_a_file_that_is_gone_after_the_listing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(data, RECORD, "b.fasta")
    local = type(fsspec.filesystem("file"))
    listed = local.ls

    def removing(self: object, path: str, detail: bool = False) -> object:
        found = listed(self, path, detail=detail)
        (data / "b.fasta").unlink(missing_ok=True)
        return found

    monkeypatch.setattr(local, "ls", removing)
    assert "b.fasta: no such file" in refused(data)


def test_very_deep_trees(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deeper than Python's own stack, so the tree is also taken down here: pytest's clean-up goes down by calls."""
    monkeypatch.chdir(data)
    for _ in range(1200):
        Path("d").mkdir()
        os.chdir("d")
    Path("deep.fasta").write_bytes(RECORD)
    assert below(data) == ["a.fasta", "d/" * 1200 + "deep.fasta"]
    Path("deep.fasta").unlink()
    for _ in range(1200):
        os.chdir("..")
        Path("d").rmdir()


# names


def test_any_name_that_is_text_is_read(data: Path) -> None:
    odd = sorted(["a b.fa", "c#1.fa", "d?e.fa", "f[1].fa", "g\nh.fa", "~x.fa", "%20.fa", "k=v.fa", "*.fa", "ü'\".fa"])
    for name in odd:
        written(data, RECORD, name)
    (data / "a.fasta").unlink()
    assert below(data) == odd
    assert read(data).total == len(odd)
    assert all(read(data / name).total == 1 for name in odd)


@pytest.mark.parametrize("name", [b"d\xe9j\xe0.fasta", b"x::y.fasta"])
def test_a_name_that_cannot_be_kept_is_refused(data: Path, name: bytes) -> None:
    path = os.fsdecode(os.fsencode(data) + b"/" + name)
    Path(path).write_bytes(RECORD)
    for given in (data, path):
        assert "rename it" in refused(given)
        assert refused(given).encode().decode().count("rename it") == 1


# side files


def test_side_files_are_left_aside_and_counted(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    parts: list[pq.FileMetaData] = []
    pq.write_table(TABLE, data / "part-0.parquet", metadata_collector=parts)
    parts[0].set_file_path("part-0.parquet")
    pq.write_metadata(TABLE.schema, data / "_metadata", parts)
    pq.write_metadata(TABLE.schema, data / "_common_metadata")
    for name in ("_SUCCESS", ".part-0.parquet.crc", "_proteins.fasta"):
        written(data, RECORD, name)
    for folder in ("_temporary", "_delta_log", ".git", "_year=2020", "split=test"):
        (data / folder).mkdir()
        written(data / folder, RECORD, "in.fasta")
    assert below(data) == ["_year=2020/in.fasta", "a.fasta", "part-0.parquet", "split=test/in.fasta"]
    assert "left aside 8 name(s) that begin with _ or .: _proteins.fasta, " in caplog.text
    assert "and 5 more" in caplog.text
    assert "Delta log is not read" in caplog.text
    assert below(data, data / "_proteins.fasta") == ["_proteins.fasta"]
    assert "_metadata: lists the row groups of other files (part-0.parquet, ...)" in refused(data / "_metadata")
    assert "_common_metadata: holds the columns of the Parquet files beside it" in refused(data / "_common_metadata")


def test_an_id_in_the_names_of_folders_is_said(data: Path) -> None:
    (data / "id=x").mkdir()
    pq.write_table(TABLE.select(["sequence"]), data / "id=x" / "part.parquet")
    (data / "a.fasta").unlink()
    assert "column 'id' stands in the names of folders" in refused(data)


def test_what_is_left_aside_is_one_short_line(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(40):
        written(data, b"id\tlabel\tof\tevery\tprotein\na\tx\ty\tz\tw\n", f"labels{number:02}.tsv")
    assert below(data) == ["a.fasta"]
    (line,) = [record.getMessage() for record in caplog.records]
    words = "left aside 40 file(s): labels00.tsv (no column 'sequence'), labels01.tsv (no column 'sequence'), "
    assert line == f"{data}: {words}labels02.tsv (no column 'sequence'), and 37 more"


def test_long_names_are_left_to_verbose(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At most 200 characters for everybody, all names for those who ask."""
    names = [f"{'a_rather_long_name_of_a_table_' * 3}{number}.tsv" for number in range(6)]
    for name in names:
        written(data, b"id\tlabel\na\tx\n", name)
    with caplog.at_level("INFO"):
        assert below(data) == ["a.fasta"]
    short, whole = caplog.records
    assert (short.levelname, whole.levelname) == ("WARNING", "INFO")
    assert len(short.getMessage().removeprefix(f"{data}: ")) <= 200
    assert short.getMessage() == (f"{data}: left aside 6 file(s): {names[0]} (no column 'sequence'), and 5 more")
    assert all(name in whole.getMessage() for name in names)


# parts without rows


def empty_tables(folder: Path) -> list[str]:
    """One table without rows of every kind; their names."""
    none = TABLE.slice(0, 0)
    pq.ParquetWriter(folder / "no_groups.parquet", TABLE.schema).close()
    pq.write_table(none, folder / "no_rows.parquet")
    pa.ipc.new_file(str(folder / "no_batches.arrow"), TABLE.schema).close()
    pa.ipc.new_stream(str(folder / "no_stream.arrow"), TABLE.schema).close()
    lance.write_dataset(none, str(folder / "no_fragments.lance"))
    lance.write_dataset(TABLE, str(folder / "removed.lance"))
    lance.dataset(str(folder / "removed.lance")).delete("true")
    written(folder, b"id,sequence\n", "header.csv")
    written(folder, gzip.compress(b"id\tsequence\n"), "header.tsv.gz")
    return sorted(path.name for path in folder.iterdir())


def test_a_table_without_rows_is_a_source_of_no_records(tmp_path: Path) -> None:
    names = empty_tables(tmp_path)
    assert len(names) == 8
    assert below(tmp_path) == names
    for name in names:
        scanned = scan(expand([str(tmp_path / name)])[0], Columns(), 1 << 20)
        assert len(scanned.parts) == 1
        assert read(tmp_path / name).total == 0


def test_a_file_without_a_byte_is_an_error_alone_and_a_word_beside_others(
    data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written(data, b"", "part-1.csv")
    written(data, gzip.compress(b""), "part-2.csv.gz")
    assert below(data) == ["a.fasta"]
    assert "part-1.csv (is empty (0 bytes)), part-2.csv.gz (is empty (0 bytes after decompression))" in caplog.text
    assert "part-1.csv: is empty (0 bytes)" in refused(data / "part-1.csv")
    (data / "a.fasta").unlink()
    assert "no sequence file in this directory (left aside 2 file(s): part-1.csv: is empty" in refused(data)


# stores


@pytest.fixture
def store(data: Path) -> Path:
    """A store below the input, with a FASTA of the user's own in it."""
    root = data / "embeddings"
    Lease.acquire(build.store(root), 30.0).release(in_order=True)
    written(root, RECORD, "notes.fasta")
    return root


def test_the_tables_of_the_store_are_no_input(
    data: Path, store: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "link").symlink_to(store)
    (data / "table").symlink_to(store / "proteins.lance")
    expected = ["a.fasta", "embeddings/notes.fasta"]
    for spelling in (store, f"{store}/", f"file://{store}", tmp_path / "link", f"{data}/x/../embeddings"):
        caplog.clear()
        assert below(data, store=spelling) == expected
        assert "left aside the tables of 2 store(s): embeddings, table" in caplog.text
    assert below(data, f"{data}/*", store=store) == ["a.fasta"]
    assert below(data, f"{data}/**/*.fasta", store=store) == expected


@pytest.mark.parametrize(
    "given", ["embeddings", "embeddings/", "../link", "x/../embeddings", "embeddings/proteins.lance"]
)
def test_the_store_by_its_name_is_an_error(
    data: Path, store: Path, tmp_path: Path, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(store)
    (data / "x").mkdir()
    monkeypatch.chdir(data)
    for spelling in (given, f"{data}/{given}", f"file://{data}/{given}"):
        with pytest.raises(InputError, match="belongs to the STORE that is written"):
            expand([spelling], store=str(store))


def test_the_store_is_known_before_it_exists(data: Path) -> None:
    with pytest.raises(InputError, match="belongs to the STORE"):
        expand([str(data)], store=str(data))
    assert below(data, data / "a.fasta", store=data) == ["a.fasta"]


def test_another_store_is_named_by_its_table(
    data: Path, store: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mine = tmp_path / "mine"
    assert below(data, store=mine) == ["a.fasta", "embeddings/notes.fasta"]
    assert "left aside the tables of 1 store(s): embeddings" in caplog.text
    with pytest.raises(InputError, match=r"embeddings: is a store of protea_ray, not an input\. STORE is the last"):
        expand([str(store)], store=str(mine))
    assert below(data, store / "proteins.lance", store=mine) == ["embeddings/proteins.lance"]
    assert read(store / "proteins.lance").total == 20
    assert "no column 'id'; its columns are" in refused(store / f"{build.info().name}.lance")


def test_a_store_on_another_file_system() -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/b/x/one.fasta", RECORD)
    for name in ("proteins", "lease"):
        memory.pipe(f"/b/x/s/{name}.lance/_versions/1.manifest", b"")
    try:
        for store in ("memory://b/x/s", "memory://b/x/s/", "s3://b/x/s", "/b/x/s"):
            assert [source.uri for source in expand(["memory://b/x"], store=store)] == ["memory:///b/x/one.fasta"]
        with pytest.raises(InputError, match="belongs to the STORE"):
            expand(["memory://b/x/s"], store="memory://b/x/s/")
        with pytest.raises(InputError, match="is a store of protea_ray"):
            expand(["memory://b/x/s"], store="s3://b/x/s")
    finally:
        memory.rm("/b", recursive=True)


def test_files_of_a_remote_directory_are_opened_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four opens that wait for one another: one after the other they would never end."""
    memory = fsspec.filesystem("memory")
    for name in "abcd":
        memory.pipe(f"/many/{name}.fasta", RECORD)
    together = threading.Barrier(4, timeout=60)
    opened = type(memory).open

    def waiting(self: object, *arguments: object, **options: object) -> object:
        together.wait()
        return opened(self, *arguments, **options)

    monkeypatch.setattr(type(memory), "open", waiting)
    try:
        assert len(expand(["memory://many"])) == 4
    finally:
        memory.rm("/many", recursive=True)
