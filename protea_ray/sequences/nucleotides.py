"""DNA and RNA where proteins should be: each of their letters is an amino acid too, so no record is rejected."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from itertools import islice

from protea_ray.errors import ConfigError, InputError
from protea_ray.sequences.parts import Columns, Part, Source
from protea_ray.sequences.read import LOOKED_AT, records_of

LOOKED_AT_SOURCES = 16  # the first of many: one file of the wrong kind seldom comes alone
_ADVICE = (
    "its first records look like DNA or RNA, not proteins (A, C, G, T, U and N alone); translate it first, or say "
    "that these are amino acids with --alphabet aa, in Python alphabet='aa'"
)
_NUCLEOTIDES = frozenset("ACGTUN")
_LETTERS = 100  # a quarter of a protein's letters are A, C, G, T or N: that many by chance in 1 of 10^59
_MEAN_LENGTH = 30  # residues; a list of short peptides may hold those letters alone


def looks_like_nucleotides(records: Iterable[bytes]) -> bool:
    """Whether records are long and hold the letters of DNA and RNA alone.

    >>> looks_like_nucleotides([b"ATGGCC" * 20]), looks_like_nucleotides([b"MATGGCC" * 20])
    (True, False)
    """
    letters = [bytes(record).decode("latin-1").upper() for record in records]
    joined = "".join("".join(letters).split()).rstrip("*")
    return len(joined) >= max(_LETTERS, _MEAN_LENGTH * len(letters)) and set(joined) <= _NUCLEOTIDES


def require_no_nucleotides(sources: Iterable[Source], columns: Columns) -> None:
    """Raise ConfigError that names each of the first 16 sources whose first records look like DNA or RNA.

    For inputs of which nobody said what they are. A file that cannot be read is left to the scan.
    """
    wrong: list[str] = []
    for source in islice(sources, LOOKED_AT_SOURCES):
        part = Part(source, 0, 0, 0 if source.format == "fasta" else 1, 1)
        with suppress(InputError):
            if looks_like_nucleotides(bytes(one.letters) for one in islice(records_of(part, columns), LOOKED_AT)):
                wrong.append(source.name)
    if wrong:
        raise ConfigError([f"{name}: {_ADVICE}" for name in wrong], where="alphabet")
