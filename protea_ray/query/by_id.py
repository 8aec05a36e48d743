"""A store as Python's containers are: how many proteins it has, their ids, one of them by its id."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from protea_ray.errors import StoreError
from protea_ray.query.lookup import find_ids
from protea_ray.query.view import CHUNK, matrix, missing
from protea_ray.store.aliases import CURRENT, list_aliases
from protea_ray.store.location import PROTEINS_TABLE, Location
from protea_ray.store.spaces import list_spaces
from protea_ray.store.tables import find_table

if TYPE_CHECKING:
    from protea_ray.query.reader import Store


def described(location: Location) -> str:
    """A store in one line: where it is, how many proteins and spaces it has, and where `current` points."""
    spaces, aliases = len(list_spaces(location)), list_aliases(location)
    current = f", {CURRENT} -> {aliases[CURRENT].space}" if CURRENT in aliases else ""
    plural = "" if spaces == 1 else "s"
    return f"{location.uri!r}: {count_records(location):,} protein records, {spaces} space{plural}{current}"


def count_records(location: Location) -> int:
    """How many protein records there are, as `status` counts them: an id of two sequences is two."""
    proteins = find_table(location.table(PROTEINS_TABLE))
    return 0 if proteins is None else proteins.count_rows()


def record_ids(location: Location) -> Iterator[str]:
    """The id of every protein record, in row order, a batch in memory at a time."""
    proteins = find_table(location.table(PROTEINS_TABLE))
    for batch in proteins.to_batches(columns=["id"]) if proteins is not None else ():
        yield from batch.column("id").to_pylist()


def has_id(store: Store, id: object) -> bool:
    """Whether a protein has this id or accession; raises StoreError where several share the accession."""
    return isinstance(id, str) and not find_ids(store.view(), [id]).unknown


def protein(store: Store, id: object) -> dict[str, Any]:
    """The protein `id` in the space `current`: id, key, length, description, and a NumPy array for each pooling.

    An array is (D,); of a chunked space it is (chunks, D), and chunk_start and chunk_end are (chunks,). Raises
    StoreError for an id that is unknown or has no vector.
    """
    if not isinstance(id, str):
        raise StoreError(f"a protein of {store.uri} is asked for by its id, which is text, and not by {id!r}; "
                         "`store.get([...])` takes several ids, `store.to_arrow()` is all of them")  # fmt: skip
    rows = store.get(id)
    if not len(rows):
        unknown = missing(rows)["unknown"]
        why = f"{store.uri} has no protein with the id {id!r}"
        raise StoreError(why if unknown else f"protein {id!r} has no vector in the space `{CURRENT}` of {store.uri}")
    chunked = CHUNK[0] in rows.column_names
    return {name: _value(name, rows[name], chunked) for name in rows.column_names}


def _value(name: str, column: pa.ChunkedArray, chunked: bool) -> Any:
    """What one column says of a protein: arrays for vectors and the places of chunks, else the one value."""
    if pa.types.is_fixed_size_list(column.type):
        vectors = matrix(column)
        return vectors if chunked else vectors[0]
    return column.to_numpy() if name in CHUNK else column[0].as_py()
