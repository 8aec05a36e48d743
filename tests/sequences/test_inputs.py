"""From inputs to sources: names, directories, globs, URLs, and everything that is not sequences."""

from __future__ import annotations

import gzip
import hashlib
import logging
import os
import zipfile
from pathlib import Path

import fsspec
import lance
import pyarrow as pa
import pytest

from protea_ray.errors import InputError
from protea_ray.sequences.inputs import expand, scan
from protea_ray.sequences.parts import Columns, Source
from tests.sequences.reading import read, written
from tests.shared_data import shared

RECORD = b">a\nMKV\n"


def names(sources: list[Source]) -> list[str]:
    return [Path(source.uri).name for source in sources]


def refused(*inputs: str | Path) -> str:
    with pytest.raises(InputError) as caught:
        expand([str(given) for given in inputs])
    return str(caught.value)


def test_a_source_is_plain_data(tmp_path: Path) -> None:
    path = written(tmp_path, RECORD)
    assert expand([str(path)]) == [Source(str(path), "fasta", "none", 7)]


def test_directories_are_recursive_sorted_and_skip_what_is_hidden(tmp_path: Path) -> None:
    (tmp_path / "b" / ".hidden").mkdir(parents=True)
    for name in ("c.fa", "a.txt", "b/z", "b/.hidden/x.fa", ".y.fa"):
        written(tmp_path, RECORD, name)
    written(tmp_path, b"Just some words,\nwith commas, and more\n", "README.md")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert names(expand([str(tmp_path)])) == ["a.txt", "z", "c.fa"]


def test_what_is_left_aside_in_a_directory_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    written(tmp_path, RECORD)
    written(tmp_path, b"id\tlabel\na\tx\n", "labels.tsv")
    written(tmp_path, b'{\n "a": 1\n}\n', "card.json")
    written(tmp_path, b"", "notes.txt")
    with caplog.at_level(logging.WARNING):
        assert names(expand([str(tmp_path)])) == ["in.fasta"]
    assert "left aside 3 file(s)" in caplog.text
    assert all(name in caplog.text for name in ("labels.tsv", "card.json", "notes.txt"))


def test_a_promised_file_that_is_broken_stops_the_directory(tmp_path: Path) -> None:
    written(tmp_path, RECORD)
    written(tmp_path, b" \n", "blank.fasta")
    written(tmp_path, b"words\n", "words.faa.gz")
    said = refused(tmp_path)
    assert "blank.fasta: is empty" in said
    assert "words.faa.gz: looks like plain text" in said


def test_globs_and_the_same_file_once(tmp_path: Path) -> None:
    for name in ("b.fa", "a.fa", "c.txt"):
        written(tmp_path, RECORD, name)
    assert names(expand([f"{tmp_path}/*.fa", str(tmp_path / "a.fa"), str(tmp_path)])) == ["a.fa", "b.fa", "c.txt"]


def test_a_name_with_glob_characters_is_a_name_first(tmp_path: Path) -> None:
    assert read(written(tmp_path, RECORD, "odd[1]*?.fa")).total == 1


def test_every_problem_comes_in_one_error(tmp_path: Path) -> None:
    empty = written(tmp_path, b"", "empty.fasta")
    blank = written(tmp_path, b" \n\n", "blank.fasta")
    bare = tmp_path / "bare"
    bare.mkdir()
    said = refused(tmp_path / "nope.fasta", f"{tmp_path}/*.zip", empty, blank, bare, "nosuch://x")
    assert "6 problem(s)" in said
    for part in ("nope.fasta: no such file", "*.zip: no file matches", "is empty (0 bytes)", "blank.fasta: is empty"):
        assert part in said
    assert "bare: no sequence file in this directory" in said
    assert "nosuch" in said


def test_no_input() -> None:
    assert "no input was given" in refused()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"Dear reader,\nthis is not a table\n", "looks like plain text"),
        (b"MKVLAA\nMKVL\n", "looks like plain text"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"@read1\nACGT\n+\nIIII\n", "FASTQ"),
        (b"PK\x03\x04rest", "zip archive"),
        (b"LOCUS       NP_1", "GenBank"),
        (b"# STOCKHOLM 1.0\n", "Stockholm"),
        (b'[\n  {"id": "a"}]', "JSON array"),
        (">a\nMKV\n".encode("utf-16"), "UTF-16"),
        (b"\x7fELF\x00\x00\x01", "binary data"),
        (b"FEA1....", "Feather version 1"),
        (gzip.compress(b"PAR1" + b"\0" * 50, mtime=0), "parquet file inside gzip"),
    ],
)
def test_what_is_not_sequences_is_named(tmp_path: Path, data: bytes, said: str) -> None:
    assert said in refused(written(tmp_path, data))


def test_pipes_in_a_directory_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "pipe: is a pipe; write it to a file first" in refused(tmp_path)


def test_an_unreadable_file_is_an_input_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, RECORD)

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.open", denied)
    assert "in.fasta: cannot be read (PermissionError" in refused(path)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"id,sequence\na,MKV\n", "csv"),
        (b"id\tsequence\na\tMKV\n", "tsv"),
        (b'{"id": "a", "sequence": "MKV"}\n', "jsonl"),
        (b"\xef\xbb\xbf\n >a\nMKV\n", "fasta"),
    ],
)
def test_content_decides_the_format(tmp_path: Path, data: bytes, found: str) -> None:
    assert expand([str(written(tmp_path, data, "data"))])[0].format == found


def test_other_filesystems_by_url(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/x/one.fasta", RECORD * 3)
    memory.pipe("/bucket/x/two.fasta.gz", gzip.compress(RECORD, mtime=0))
    try:
        assert read("memory://bucket/x").total == 4
        assert read("memory://bucket/x/*.fasta", part_bytes=7).total == 3
    finally:
        memory.rm("/bucket", recursive=True)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("inner/one.fasta", RECORD)
    assert read(f"zip://inner/one.fasta::{tmp_path}/all.zip").total == 1
    assert read(f"zip://*/*.fasta::{tmp_path}/all.zip").total == 1


def test_a_file_url_is_the_path(tmp_path: Path) -> None:
    path = written(tmp_path, RECORD)
    assert expand([f"file://{path}", str(path)]) == expand([str(path)])


def test_digest_is_sha256_of_the_bytes(tmp_path: Path) -> None:
    for data in (RECORD * 1000, b"\xef\xbb\xbf" + RECORD, gzip.compress(RECORD, mtime=0), b"id,sequence\na,MKV\n"):
        path = written(tmp_path, data)
        assert scan(expand([str(path)])[0], Columns(), 100).digest == hashlib.sha256(data).hexdigest()


def test_digest_of_a_lance_source_tells_its_versions_apart(tmp_path: Path) -> None:
    """A removed row leaves the data files as they are."""
    path = str(tmp_path / "p.lance")
    lance.write_dataset(pa.table({"id": ["a", "b"], "sequence": ["MKV", "MKL"]}), path)
    before = scan(expand([path])[0], Columns(), 100)
    assert scan(expand([path])[0], Columns(), 100).digest == before.digest
    lance.dataset(path).delete("id = 'a'")
    assert scan(expand([path])[0], Columns(), 100).digest != before.digest


def test_parts_cover_the_file_without_overlap(tmp_path: Path) -> None:
    data = RECORD * 1000
    parts = scan(expand([str(written(tmp_path, data))])[0], Columns(), 500).parts
    assert [part.index for part in parts] == list(range(len(parts)))
    assert [part.start for part in parts] == [0, *(part.end for part in parts[:-1])]
    assert parts[-1].end == len(data)
    assert all(data[part.start : part.start + 1] == b">" for part in parts)
    assert all(part.line == 1 + data[: part.start].count(b"\n") for part in parts)
    assert {part.end - part.start for part in parts[:-1]} == {504}


def test_missing_columns_name_the_flags(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        expand([str(written(tmp_path, b"acc,seq\na,MKV\n", "in.csv"))])
    assert [problem.split(": ")[1] for problem in caught.value.problems] == [
        "no column 'id'; its columns are 'acc', 'seq', choose with --id-column",
        "no column 'sequence'; its columns are 'acc', 'seq', choose with --sequence-column",
    ]


def test_developer_folders() -> None:
    assert names(expand([str(shared("task_localization"))])) == ["deeploc_our_val_set.fasta", "deeploc_test_set.fasta"]
    assert read(shared("medium")).total == 14_658 + 10_000
