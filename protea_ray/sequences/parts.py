"""What the driver sends to readers and gets back: a source, its columns, and the parts that it is cut into.

Plain frozen dataclasses of strings and numbers, so that any of them can be sent to another machine.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from protea_ray.config.recipe import AlphabetName
from protea_ray.display import first_of

_WEB = re.compile(r"(https?://[^?#]*)[?#].*", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of the columns of tabular inputs (FASTA has none and ignores them), and what the letters are."""

    id: str = "id"
    sequence: str = "sequence"
    description: str = "description"  # used where it exists, never required
    alphabet: AlphabetName = "aa"

    @property
    def required(self) -> tuple[tuple[str, str], ...]:
        """(column, the flag that sets it) of each column without which a table cannot be read."""
        return (self.id, "--id-column"), (self.sequence, "--sequence-column")

    def problems(self, names: Sequence[str]) -> list[str]:
        """What is wrong with a table that has columns `names`: required ones that are missing or ambiguous."""
        problems: list[str] = []
        for column, flag in self.required:
            if names.count(column) != 1:
                what = "more than one column" if column in names else "no column"
                problems.append(f"{what} {column!r}; its columns are {_column_list(names)}, choose with {flag}")
        return problems


@dataclass(frozen=True, slots=True)
class Source:
    """One input file, or one Lance dataset.

    `format` is one of fasta, parquet, csv, tsv, arrow, jsonl, lance; `compression` one of none, gzip, bzip2, xz,
    zstd; `size` is in bytes (0 where a server does not tell); `version` pins a Lance dataset. Where the file is a
    temporary copy of what can be read only once, `copy_of` says of what.
    """

    uri: str
    format: str
    compression: str
    size: int
    version: int = 0
    copy_of: str = ""

    @property
    def name(self) -> str:
        """The URI without the query and fragment of a web address: signatures of a link must not enter tables."""
        return "::".join(_WEB.sub(r"\1", link) for link in (self.copy_of or self.uri).split("::"))


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of one source that can be read by itself.

    `start` and `end` (exclusive; 0 where the file's is not known) are bytes of a FASTA or text table, row groups of a
    Parquet file, fragments of a Lance dataset. `line` is the 1-based line (row of a table) of the first record.
    """

    source: Source
    index: int
    start: int
    end: int
    line: int


@dataclass(frozen=True, slots=True)
class Scan:
    """A source after one pass over it: sha256 of its bytes, and its parts in input order."""

    source: Source
    digest: str
    parts: tuple[Part, ...]


def _column_list(names: Sequence[str], most: int = 30) -> str:
    return first_of([repr(name[:80]) for name in names], most) or "(none)"
