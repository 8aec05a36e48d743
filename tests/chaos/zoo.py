"""Files as people send them: every oddity once, each with what must become of it."""

from __future__ import annotations

import bz2
import gzip
import random
from dataclasses import dataclass
from pathlib import Path

LETTERS = "ACDEFGHIKLMNPQRSTVWY"
HOSTILE = ("../../etc/passwd", "<script>alert(1)</script>", "';DROP", "x'OR'1'='1")


@dataclass(frozen=True)
class Animal:
    """A file. `records` it holds, how many `stored` as records of proteins, `reasons` of the others."""

    name: str
    data: bytes
    stored: int = 0
    reasons: tuple[str, ...] = ()
    refused: bool = False  # the file as a whole, with an error that names it

    @property
    def records(self) -> int:
        return self.stored + len(self.reasons)


def protein(seed: int, length: int = 60) -> str:
    """Some letters, other ones for each seed."""
    return "".join(random.Random(seed).choices(LETTERS, k=length))


def fasta(*numbers: int, end: str = "\n", prefix: str = "p") -> bytes:
    return "".join(f">{prefix}{n} of the zoo{end}{protein(n)}{end}" for n in numbers).encode()


def zoo() -> list[Animal]:
    """All of them; proteins of different animals differ, so that counts can be told apart."""
    return [
        Animal("crlf.fasta", fasta(1, 2, end="\r\n"), 2),
        Animal("cr.fasta", fasta(3, 4, end="\r"), 2),
        Animal("bom.fasta", b"\xef\xbb\xbf" + fasta(5), 1),
        Animal("nul.fasta", b">n1\nMK\0LV\n" + fasta(6), 1, ("illegal_letter",)),
        Animal("latin1.fasta", ">caf\xe9 x\n".encode("latin-1") + protein(7).encode() + b"\n", 1),
        Animal("utf8.fasta", ">caf\xe9 \u03b2-sheet\n".encode() + protein(8).encode() + b"\n", 1),
        Animal("lower.fasta", b">low\n" + protein(9).lower().encode() + b"\n", 1),
        Animal("gaps.fasta", b">g1\nMK-LV\n>g2\nMK.LV\n" + fasta(10), 1, ("illegal_letter",) * 2),
        Animal("stop.fasta", b">s1\n" + protein(11).encode() + b"*\n>s2\nMK*LV\n", 1, ("illegal_letter",)),
        Animal("empty_records.fasta", b">e1\n>e2\n\n" + fasta(12), 1, ("empty_sequence",) * 2),
        Animal("empty_ids.fasta", b">\n" + protein(13).encode() + b"\n> x\n" + protein(14).encode() + b"\n", 1,
               ("empty_id",)),  # blanks before an id are no id, but they hide none either
        Animal("same_id_same_letters.fasta", fasta(15, 15), 2),
        Animal("same_id_other_letters.fasta", fasta(16, 17).replace(b">p17", b">p16"), 2),
        Animal("long_header.fasta", b">long " + b"x" * (1 << 20) + b"\n" + protein(18).encode() + b"\n", 1),
        Animal("long_id.fasta", b">" + b"i" * (1 << 20) + b"\n" + protein(19).encode() + b"\n", 0, ("long_id",)),
        Animal("titanic.fasta", b">titanic\n" + protein(20, 2_000_000).encode() + b"\n", 1),
        Animal("greater.fasta", b">a>b >c\n" + protein(21).encode() + b"\n", 1),
        Animal("hostile_ids.fasta", b"".join(b">" + id.encode() + b"\n" + protein(30 + n).encode() + b"\n"
               for n, id in enumerate(HOSTILE)), len(HOSTILE)),
        Animal("whole.fasta.gz", gzip.compress(fasta(40, 41)), 2),
        Animal("members.fasta.gz", gzip.compress(fasta(42)) + gzip.compress(fasta(43)), 2),
        Animal("gz_without_its_name.fasta", gzip.compress(fasta(44)), 1),
        Animal("whole.fasta.bz2", bz2.compress(fasta(45)), 1),
        Animal("nucleotides.fasta", b">dna\nACGTACGTTTGACA\n", 1),  # legal residues: nobody can tell
        Animal("cut.fasta.gz", gzip.compress(fasta(*range(100, 140)))[:-40], refused=True),
        Animal("text.txt", b"Dear colleague,\nplease find attached the file.\n", refused=True),
        Animal("empty.fasta", b"", refused=True),
        Animal("single_residues.fasta", b"".join(b">r%d\n%c\n" % (i, ord(LETTERS[i % 20])) for i in range(100_000)),
               100_000),
    ]  # fmt: skip


def release(folder: Path, refused: bool) -> tuple[list[Path], list[Animal]]:
    """Write the animals that are (not) refused whole."""
    chosen = [a for a in zoo() if a.refused == refused]
    folder.mkdir()
    for animal in chosen:
        (folder / animal.name).write_bytes(animal.data)
    return [folder / a.name for a in chosen], chosen
