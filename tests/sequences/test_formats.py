"""What a file is by its first bytes: foreign formats by name, with the way out, and those that share FASTA's `>`."""

from __future__ import annotations

import gzip
import io
import sqlite3
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from protea_ray.errors import InputError
from protea_ray.sequences.inputs import expand
from tests.sequences.reading import read, written

RECORD = b">t1 one\nMKTW\n"


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        expand([str(path)])
    return str(caught.value)


def tar(path: Path, mode: str) -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name in ("set/one.fasta", "set/two.fasta"):
            member = tarfile.TarInfo(name)
            member.size = len(RECORD)
            archive.addfile(member, io.BytesIO(RECORD))
    return path


def zipped(path: Path, *members: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for member in members:
            archive.writestr(member, RECORD)
    return path


@pytest.mark.parametrize(
    ("name", "mode"),
    [("x.tar", "w"), ("x.tar.gz", "w:gz"), ("x.tgz", "w:gz"), ("x.tar.xz", "w:xz"), ("x.tbz2", "w:bz2")],
)
def test_a_tar_archive_is_named_and_its_advice_works(tmp_path: Path, name: str, mode: str) -> None:
    said = refused(tar(tmp_path / name, mode))
    assert "is a tar archive" in said
    member = f"tar://set/one.fasta::{tmp_path}/{name}"
    assert f"such as {member} (tar://::{tmp_path}/{name} is all)" in said
    assert read(member).total == 1
    assert read(f"tar://::{tmp_path}/{name}").total == 2
    assert read(f"tar://set/*.fasta::{tmp_path}/{name}").total == 2


def test_a_zip_archive_is_named_and_its_advice_works(tmp_path: Path) -> None:
    path = zipped(tmp_path / "set.zip", "in/one.faa", "in/two.faa")
    assert f"such as zip://in/one.faa::{path} (zip://::{path} is all)" in refused(path)
    assert read(f"zip://in/one.faa::{path}").total == 1
    assert read(f"zip://::{path}").total == 2


@pytest.mark.parametrize(
    ("member", "said"),
    [
        ("[Content_Types].xml", "spreadsheet"),
        ("mimetype", "spreadsheet"),
        ("arr_0.npy", "numpy archive"),
        ("model/data.pkl", "PyTorch file"),
    ],
)
def test_other_things_that_are_zip(tmp_path: Path, member: str, said: str) -> None:
    assert said in refused(zipped(tmp_path / "x.csv", member))


def test_binary_files_of_other_programs(tmp_path: Path) -> None:
    h5py.File(tmp_path / "v.h5", "w").create_dataset("x", data=[1.0])
    np.save(tmp_path / "v.npy", np.zeros(3))
    pd.to_pickle({"id": "MKV"}, tmp_path / "p.pkl")
    with sqlite3.connect(tmp_path / "d.db") as connection:
        connection.execute("create table proteins (id text)")
    written(tmp_path, gzip.compress(b"BAM\x01" + bytes(8)), "r.bam")
    written(tmp_path, b"MKTW\n\x00MKLAA\n\x00", "mmseqs")
    written(tmp_path, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(50), "t.xls")
    said = {path.name: refused(path) for path in tmp_path.iterdir()}
    expected = {
        "v.h5": "HDF5",
        "v.npy": "numpy array",
        "p.pkl": "pickle",
        "d.db": "SQLite",
        "r.bam": "samtools fasta",
        "mmseqs": "convert2fasta",
        "t.xls": "Office",
    }
    assert {name: words for name, words in expected.items() if words not in said[name]} == {}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"CLUSTAL O(1.2.4)\n\nt1 MK-TW\n", "Clustal"),
        (b"PileUp\n\n MSF: 10\n", "GCG"),
        (b"!!AA_SEQUENCE 1.0\n", "GCG"),
        (b"#NEXUS\nbegin data;\n", "NEXUS"),
        (b"##gff-version 3\nchr\tsrc\tCDS\n##FASTA\n>t1\nMKTW\n", "GFF"),
        (b" 3 10\nalpha     MKTWMKTWMK\n", "Phylip"),
        (b"HMMER3/f [3.4 | Aug 2023]\nNAME x\n", "HMMER"),
        (b"MEME version 5\n\nALPHABET= X\n", "MEME"),
        (b"data_7XYZ\n#\nloop_\n", "mmCIF"),
        (b"HEADER    HYDROLASE\n", "PDB"),
        (b";LCBO - old header\nMKTW*\n", "comment lines and no '>'"),
    ],
)
def test_text_formats_are_named(tmp_path: Path, data: bytes, said: str) -> None:
    assert said in refused(written(tmp_path, data, "in.txt"))


@pytest.mark.parametrize("code", ["P1", "F1", "DL", "D1", "RC", "N3", "XX"])
def test_pir_is_refused_and_is_a_reject_further_down(tmp_path: Path, code: str) -> None:
    pir = f">{code};LYSC_X\nLYSOZYME\nMKTWGGSA*\n".encode()
    assert "PIR" in refused(written(tmp_path, pir))
    assert "PIR" in refused(written(tmp_path, gzip.compress(b"; a comment\n" + pir)))
    got = read(written(tmp_path, RECORD + pir))
    assert [row["id"] for row in got.proteins] == ["t1"]
    assert [(row["id"], row["reason"]) for row in got.rejects] == [(f"{code};LYSC_X", "malformed_row")]


def test_sizes_of_vsearch_are_not_pir(tmp_path: Path) -> None:
    got = read(written(tmp_path, b">P1;size=4;\nMKTW\n>F1;ee=0.1;length=4\nMKTW\n>sp|P1;X\nMK\n"))
    assert (len(got.proteins), got.rejects) == (3, [])


def test_an_alignment_is_announced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    expand([str(written(tmp_path, b">a\nMK-TW\n>b\nMKATW\n"))])
    assert "looks like an alignment" in caplog.text
    caplog.clear()
    expand([str(written(tmp_path, b">a-b x-ray\nMKTW*\n>c ...\nMKATW\n"))])
    assert caplog.text == ""
