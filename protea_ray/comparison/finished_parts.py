"""Parts of a comparison that are done, kept as Parquet files in the folder `parts` of the output.

A part is one block of one variant, of masked losses also one bin. Its name ends in a digest of all that its numbers
follow from (weights, recipe, proteins, seed), so that the same comparison again finds it and any other one does not. A
file is written beside its place and moved there: a killed run leaves no half of one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

from protea_ray.config.identity import canonical_json

PROTOCOL = 1  # of how numbers are computed; another one computes every part anew
_TYPES = {int: pa.int64(), str: pa.string(), float: pa.float64()}


@dataclass(frozen=True)
class FinishedParts:
    """The parts in `folder`."""

    folder: Path

    def get(
        self, block: str, names: Sequence[str], facts: Mapping[str, Any], make: Callable[[], Sequence[pa.Table]]
    ) -> list[pa.Table]:  # fmt: skip
        """The tables `names` of a part: read where they are all there, else made and kept.

        `facts` are plain values that the numbers follow from; `make` returns one table for each name.
        """
        digest = hashlib.sha256(canonical_json({"protocol": PROTOCOL, "block": block, **facts}).encode()).hexdigest()
        paths = [self.folder / f"{name}-{digest[:16]}.parquet" for name in names]
        if all(path.is_file() for path in paths):
            return [pq.read_table(path) for path in paths]
        made = list(make())
        self.folder.mkdir(parents=True, exist_ok=True)
        for path, table in zip(paths, made, strict=True):
            unfinished = path.with_suffix(".unfinished")
            pq.write_table(table, unfinished, compression="zstd")
            unfinished.replace(path)
        return made


def table_of(kind: type[Any], rows: Sequence[Any]) -> pa.Table:
    """Rows of one dataclass as a table of its fields; a field that may be None is nullable."""
    schema = pa.schema([_field(name, hint) for name, hint in get_type_hints(kind).items()])
    return pa.Table.from_pylist([asdict(row) for row in rows], schema=schema)


def rows_of(kind: type[Any], table: pa.Table) -> list[Any]:
    """What `table_of` made a table of."""
    return [kind(**row) for row in table.to_pylist()]


def _field(name: str, hint: Any) -> pa.Field:
    plain = [part for part in getattr(hint, "__args__", (hint,)) if part is not type(None)]
    return pa.field(name, _TYPES[plain[0]], nullable=plain != [hint])
