"""Keys and row ids of a table's rows, read by groups of fragments, so that a reader holds as many as it asked for."""

# lance types its own signatures only in part
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from protea_ray.store.ledger import FIRST_ROW, of_space
from protea_ray.store.location import PROTEINS_TABLE, REJECTS_TABLE, Location
from protea_ray.store.tables import find_table, open_table


@dataclass(frozen=True)
class KeyRows:
    """The rows of one version of a table that pass `filter`; `fragments` of the table and the rows in each.

    A fragment's rows are counted before the filter and with deleted ones, from the manifest alone.
    """

    uri: str
    version: int
    filter: str | None
    fragments: tuple[int, ...] = field(repr=False)
    sizes: tuple[int, ...] = field(repr=False)

    @property
    def most(self) -> int:
        """Rows at most."""
        return sum(self.sizes)


def protein_rows(location: Location, filter: str | None, version: int | None = None) -> KeyRows | None:
    """Rows of proteins.lance; None where there is no such table. Raises StoreError for a version that is not there."""
    return _rows(location.table(PROTEINS_TABLE), filter, version)


def present_rows(location: Location, space: str) -> KeyRows | None:
    """Rows of a space in which each of its keys stands once; None for a space that is not there yet."""
    return _rows(location.table(space), FIRST_ROW)


def rejected_rows(location: Location, space: str) -> KeyRows | None:
    """Rows with the keys that earlier runs rejected while embedding into `space`; a key may come several times."""
    return _rows(location.table(REJECTS_TABLE), of_space(space))


def _rows(uri: str, filter: str | None, version: int | None = None) -> KeyRows | None:
    table = find_table(uri, version)
    if table is None:
        return None
    fragments = table.get_fragments()
    sizes = tuple(int(fragment.metadata.physical_rows) for fragment in fragments)
    return KeyRows(uri, table.version, filter, tuple(fragment.fragment_id for fragment in fragments), sizes)


def read_columns(
    rows: KeyRows, fragments: Sequence[int], columns: Sequence[str], *, row_ids: bool = False
) -> Iterator[pa.RecordBatch]:
    """Read columns of the rows in these fragments, in row order; with `row_ids` there is `_rowid` too."""
    table = open_table(rows.uri, rows.version)
    chosen = [table.get_fragment(number) for number in fragments]
    yield from table.scanner(
        columns=list(columns), filter=rows.filter, with_row_id=row_ids, fragments=chosen
    ).to_batches()
