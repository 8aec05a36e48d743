"""What tells Foldseek's structure letters from amino acids, in every format, before anything is read as a whole."""

from __future__ import annotations

import gzip
import random
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from protea_ray.errors import ConfigError
from protea_ray.sequences.inputs import expand
from protea_ray.sequences.parts import Columns
from protea_ray.sequences.read import LOOKED_AT, require_amino_acids
from protea_ray.sequences.records import PROTEINS_SCHEMA
from protea_ray.sequences.structure_letters import why_3di
from protea_ray.sequences.synth import synthesise
from tests.sequences.reading import read
from tests.shared_data import shared

# background frequencies of 3Di, per mille, A to Y, as Foldseek publishes them
BACKGROUND = (49, 31, 101, 33, 28, 42, 45, 31, 30, 61, 15, 22, 78, 51, 26, 61, 20, 216, 31, 30)
PROTEINS = ("MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQ", "GIVEQCCTSICSLYQLENYCN", "MALWMRLLPLLALLALWGPDPAAA")


def structures(count: int, length: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return ["".join(draw.choices("ACDEFGHIKLMNPQRSTVWY", BACKGROUND, k=length)) for _ in range(count)]


def fasta(*letters: str) -> bytes:
    return "".join(f">r{i}\n{s}\n" for i, s in enumerate(letters)).encode()


def table(letters: list[str]) -> pa.Table:
    return pa.table({"id": [f"r{i}" for i in range(len(letters))], "sequence": letters})


def asked(path: Path, columns: Columns | None = None) -> tuple[str, ...]:
    """The problems of one input, none where it is taken for amino acids."""
    columns = columns or Columns()
    try:
        require_amino_acids(expand([str(path)], columns), columns)
    except ConfigError as error:
        return error.problems
    return ()


@pytest.mark.parametrize(
    "name", ["a.fasta", "a.fasta.gz", "a.csv", "a.tsv", "a.jsonl", "a.parquet", "a.arrow", "a.lance"]
)
@pytest.mark.parametrize(
    ("letters", "why"), [(structures(8, 90), "frequent"), ([s.lower() for s in PROTEINS], "lower")]
)
def test_every_format_is_looked_at(name: str, letters: list[str], why: str, tmp_path: Path) -> None:
    path, rows = tmp_path / name, table(letters)
    pairs = rows.to_pylist()
    match name.split(".", 1)[1]:
        case "fasta":
            path.write_bytes(fasta(*letters))
        case "fasta.gz":
            path.write_bytes(gzip.compress(fasta(*letters)))
        case "csv" | "tsv" as kind:
            comma = "," if kind == "csv" else "\t"
            path.write_text("\n".join(comma.join(r) for r in [["id", "sequence"], *(list(p.values()) for p in pairs)]))
        case "jsonl":
            path.write_text("\n".join(f'{{"id": "{p["id"]}", "sequence": "{p["sequence"]}"}}' for p in pairs))
        case "parquet":
            pq.write_table(rows, path)
        case "arrow":
            with pa.ipc.new_file(path, rows.schema) as file:
                file.write_table(rows)
        case _:
            lance.write_dataset(rows, path)

    (problem,) = asked(path)

    assert str(path) in problem
    assert why in problem
    assert "--alphabet aa or --alphabet 3di" in problem


@pytest.mark.parametrize(
    "letters",
    [
        PROTEINS,
        ("MKTAYIakqrqisfvkSHFSRQ", "GIVEQCCtsicslyqlenycn"),  # soft-masked
        ("giveqcctsicslyqlenycn", "MKTAYIAKQR"),  # one record masked as a whole
        ("mkxtayu", "givbez"),  # letters that 3Di has not
        ("", "*", "-"),
    ],
)
def test_amino_acids_are_not_asked_about(letters: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "a.fasta"
    path.write_bytes(fasta(*letters))
    assert asked(path) == ()


def test_every_file_is_named_and_one_that_cannot_be_read_is_left_to_the_scan(tmp_path: Path) -> None:
    for name, letters in {"one": "dvqvad", "two": "MKTAYIAK", "three": "ppvvlvv"}.items():
        (tmp_path / f"{name}.fasta").write_bytes(fasta(letters))
    pq.write_table(table([]), tmp_path / "none.parquet")
    pq.ParquetWriter(tmp_path / "no_row_groups.parquet", table(["dvq"]).schema).close()
    (tmp_path / "cut.csv").write_text('id,sequence\na,"dvq\n')

    problems = asked(tmp_path)

    assert [Path(p.split(":")[0]).name for p in problems] == ["one.fasta", "three.fasta"]


def test_no_more_than_the_first_records_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.fasta"
    path.write_bytes(fasta(*["giveqcc"] * LOOKED_AT, "MKTAYIAK"))
    assert len(asked(path)) == 1
    path.write_bytes(fasta(*["giveqcc"] * (LOOKED_AT - 1), "MKTAYIAK"))
    assert asked(path) == ()


def test_other_columns_are_read_where_they_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,sequence,states\nr1,MKTAYIAKQR,dvqvadpvvv\n")
    assert asked(path) == ()
    assert len(asked(path, Columns("id", "states"))) == 1


@pytest.mark.parametrize(("alphabet", "taken"), [("aa", ["MKTAY", "DVQ"]), ("3di", ["dvq", "ppv"])])
def test_a_stores_own_table_is_read_in_the_alphabet_of_each_row(
    alphabet: Any, taken: list[str], tmp_path: Path
) -> None:
    letters = ["MKTAY", "dvq", "DVQ", "ppv"]
    rows = [
        {"id": f"r{i}", "key": bytes(16), "length": len(s), "sequence": s, "description": "", "source": "s", "line": i}
        for i, s in enumerate(letters)
    ]
    path = tmp_path / "proteins.lance"
    lance.write_dataset(pa.Table.from_pylist(rows, PROTEINS_SCHEMA), path)

    found = read(path, columns=Columns(alphabet=alphabet))

    assert [row["sequence"] for row in found.proteins] == taken
    assert [row["detail"].partition(";")[0] for row in found.rejects] == {
        "aa": ["structure letters (3Di) of a store"] * 2,
        "3di": ["amino acids of a store", "amino acids of a store"],
    }[alphabet]
    assert all(row["reason"] == "illegal_letter" for row in found.rejects)


def test_proteins_pass_and_structures_do_not() -> None:
    """By letter frequencies: synthetic families one by one, and draws of 3Di's published background."""
    alarms = sum(why_3di([p.sequence.encode()]) is not None for p in synthesise(2000, 1))
    noticed = sum(why_3di([s.encode()]) is not None for s in structures(500, 150))
    assert alarms == 0
    assert noticed > 480


def test_published_proteins_pass() -> None:
    """Two proteomes of UniProt, each protein for itself (an alarm is of low complexity) and eight at a time."""
    found = read(shared("medium/uniprot_tbrucei_anabaena.fasta.gz"))
    letters = [row["sequence"].encode() for row in found.proteins]
    alone = sum(why_3di([s]) is not None for s in letters)
    together = sum(why_3di(letters[i : i + 8]) is not None for i in range(0, len(letters), 8))
    assert len(letters) > 5000
    assert alone <= len(letters) // 1000
    assert together == 0
