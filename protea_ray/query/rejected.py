"""What the store rejected: every reject with its file and line, without those that were stored by a later run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from protea_ray.errors import ConfigError, StoreError
from protea_ray.query.file_formats.content import Content
from protea_ray.query.file_formats.endings import require_format, write_file
from protea_ray.query.standing_rejects import COMPARED, RejectRows
from protea_ray.sequences.records import KEY, PROTEINS_SCHEMA, REJECTS_SCHEMA, Reason
from protea_ray.store import aliases
from protea_ray.store.keys import KeyIndex
from protea_ray.store.ledger import scan_proteins
from protea_ray.store.location import REJECTS_TABLE, SOURCES_TABLE, Location
from protea_ray.store.sql import both, equals
from protea_ray.store.tables import find_table

_HEADED = pa.schema([PROTEINS_SCHEMA.field(name) for name in ("id", "key", "description", "sequence")])
COLUMNS = ("file", "line", "id", "reason", "detail", "stage", "space", "source", "key", "attempts", "run")


def rejects(location: Location, space: str | None = None, reason: str | None = None) -> pa.Table:
    """Every reject of a store: file, line, id, reason, detail, stage, space, source, key, attempts, run.

    `space` (a name or an alias) leaves those that have no vector there: rejected while they were read, or embedded into
    it. A protein that a later run stored is left out; of one that several runs rejected the last row is given. Raises
    UnknownSpaceError, and ConfigError for a reason that is none.
    """
    if reason is not None and reason not in tuple(Reason):
        raise ConfigError(f"no reason {reason!r}; there are {', '.join(Reason)}", where="reason")
    name = None if space is None else aliases.resolve(location, space, None)[0]
    table = find_table(location.table(REJECTS_TABLE))
    of_space = None if name is None else f"space IS NULL OR {equals('space', name)}"
    wanted = both(of_space, None if reason is None else equals("reason", reason))
    rows = REJECTS_SCHEMA.empty_table() if table is None else table.to_table(filter=wanted)
    standing = RejectRows.read(rows.select(COMPARED).to_batches(), len(rows)).standing(location)
    left = rows.filter(pa.array(standing))
    return left.append_column("file", files_of(location, left["source"])).select(COLUMNS)


def files_of(location: Location, labels: pa.ChunkedArray) -> pa.Array:
    """The path or URI behind each source's label; the label's own where `sources` has no row of it."""
    table = find_table(location.table(SOURCES_TABLE))
    known = {} if table is None else table.to_table(columns=["source", "uri"]).to_pydict()
    uris = dict(zip(known.get("source", ()), known.get("uri", ()), strict=True))
    return pa.array([uris.get(label, label.rpartition("#")[0] or label) for label in labels.to_pylist()], pa.string())


def counts_of(rows: pa.Table) -> dict[str, int]:
    """How many rejects have each reason, most frequent first."""
    found = {row["values"]: row["counts"] for row in pc.value_counts(rows["reason"]).to_pylist()}
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


@dataclass(frozen=True)
class WrittenRejects:
    """What was written of the rejects; `left_out` counts those that a FASTA lacks, as no table holds their letters."""

    rows: int
    left_out: int = 0


def write_rejects(location: Location, rows: pa.Table, path: str | Path) -> WrittenRejects:
    """Write rejects to a local file: a table, or as FASTA the letters of those that have any, each protein once.

    Letters of records that were rejected while they were read were never stored. Raises ConfigError for an ending of
    another kind and a path that cannot be written, StoreError when nothing is left to write.
    """
    format = require_format(path, "rejects", ("rows", "letters"))
    if format.holds == "rows":
        return WrittenRejects(write_file(Content([rows]), path, format))
    letters = _RejectedLetters(location, rows)
    written = write_file(Content(letters), path, format)
    without = sum(key not in letters.found for key in rows["key"].to_pylist())
    if not written:
        raise StoreError(f"no letters to write: those of {without:,} rejects were never stored; a table such as "
                         "rejects.csv names their files and lines")  # fmt: skip
    return WrittenRejects(written, without)


class _RejectedLetters:
    """The stored letters of rejected proteins, each once, described by their first reject; `found` are their keys."""

    def __init__(self, location: Location, rows: pa.Table) -> None:
        self._location = location
        self._why: dict[bytes, str] = {}
        for row in rows.select(["key", "reason", "detail"]).to_pylist():
            self._why.setdefault(row["key"], f"{row['reason']}: {row['detail']}")
        self.found: set[bytes] = set()

    def __iter__(self) -> Iterator[pa.Table]:
        wanted = KeyIndex(pa.array([key for key in self._why if key is not None], KEY))
        for batch in scan_proteins(self._location, None, ["id", "key", "sequence"]):
            first: dict[bytes, dict[str, Any]] = {}
            for row in batch.filter(pa.array(wanted.contains(batch.column("key")))).to_pylist():
                if row["key"] not in self.found:
                    first.setdefault(row["key"], {**row, "description": self._why[row["key"]]})
            self.found |= first.keys()
            yield pa.Table.from_pylist(list(first.values()), _HEADED)
