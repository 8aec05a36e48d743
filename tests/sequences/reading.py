"""Reading whole inputs in tests, and a second, naive FASTA reader that shares no code with the package."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protea_ray.sequences.inputs import expand, scan
from protea_ray.sequences.parts import Columns
from protea_ray.sequences.read import read_part
from protea_ray.sequences.records import PROTEINS_SCHEMA, REJECTS_SCHEMA

Row = dict[str, Any]


@dataclass(frozen=True)
class Everything:
    """Rows of all parts of all sources, in order."""

    proteins: list[Row]
    rejects: list[Row]

    @property
    def total(self) -> int:
        return len(self.proteins) + len(self.rejects)

    @property
    def reasons(self) -> list[str]:
        return [row["reason"] for row in self.rejects]


def read(*inputs: str | Path, part_bytes: int = 1 << 20, columns: Columns | None = None, **options: Any) -> Everything:
    """Expand, scan and read inputs to the end, checking the schemas on the way."""
    columns = columns or Columns()
    proteins: list[Row] = []
    rejects: list[Row] = []
    for source in expand([str(given) for given in inputs], columns):
        for part in scan(source, columns, part_bytes).parts:
            for batch in read_part(part, columns, "label", "run-1", **options):
                assert batch.proteins.schema.equals(PROTEINS_SCHEMA)
                assert batch.rejects.schema.equals(REJECTS_SCHEMA)
                batch.proteins.validate(full=True)
                batch.rejects.validate(full=True)
                proteins += batch.proteins.to_pylist()
                rejects += batch.rejects.to_pylist()
    return Everything(proteins, rejects)


def written(folder: Path, data: bytes, name: str = "in.fasta") -> Path:
    """A file with this content."""
    path = folder / name
    path.write_bytes(data)
    return path


def naive_fasta(data: bytes) -> list[tuple[int, bytes, bytes]]:
    """(line, header, letters without white space) of every record, one line at a time."""
    records: list[tuple[int, bytes, bytes]] = []
    for number, line in enumerate(re.split(rb"\r\n|\r|\n", data.removeprefix(b"\xef\xbb\xbf")), 1):
        if line.startswith(b">"):
            records.append((number, line[1:], b""))
        elif records:
            at, header, letters = records[-1]
            records[-1] = (at, header, letters + b"".join(line.split()))
    return records
