"""A store read at one pin: a space at one version joined to the proteins at one version."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import lance
import numpy as np
import pyarrow as pa

from protea_ray.errors import ConfigError, StoreError
from protea_ray.query.random_vectors import tell_untrained
from protea_ray.sequences.records import PROTEINS_SCHEMA
from protea_ray.store import aliases
from protea_ray.store.keys import KeyIndex, join
from protea_ray.store.ledger import ROW_ID, of_alphabet
from protea_ray.store.location import PROTEINS_TABLE, SOURCES_TABLE, Location
from protea_ray.store.object_store_errors import is_outage, message
from protea_ray.store.pins import open_pinned
from protea_ray.store.rows import LOGITS, RESIDUES, vector_facts
from protea_ray.store.spaces import SpaceInfo
from protea_ray.store.sql import among, both
from protea_ray.store.tables import find_table, open_table

DESCRIBES = ("id", "key", "length", "description")
CHUNK = ("chunk_start", "chunk_end")
MISSING = b"protea.missing"
PIN = b"protea.pin"
TRAINED = b"protea.trained"
_RECORDS_AT_ONCE = 1024  # a description may be a megabyte
_IDS_OF_ONE_FILTER = 1000  # an IN list of 1,000 ids over 2 million rows costs 94 ms, with or without an index


@dataclass(frozen=True)
class Pin:
    """A space, its version, and the version of the proteins: given again later, it reads the same rows."""

    space: str
    version: int
    proteins: int

    def to_json(self) -> dict[str, Any]:
        """Plain values, which `from_json` takes again."""
        return asdict(self)

    @classmethod
    def from_json(cls, recorded: str | Mapping[str, Any]) -> Pin:
        """Read a pin from JSON text or from the object that `to_json` gave.

        Raises ConfigError that says what is missing.

        >>> Pin.from_json('{"space": "esm2-1a2b3c4d", "version": 7, "proteins": 5}')
        Pin(space='esm2-1a2b3c4d', version=7, proteins=5)
        """
        try:
            found = json.loads(recorded) if isinstance(recorded, str) else dict(recorded)
            pin = cls(found["space"], found["version"], found["proteins"])
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(f"{recorded!r:.200} is no pin: an object with space, version and proteins is wanted, as "
                              "`Pin.to_json` gives it", where="pin") from error  # fmt: skip
        if not isinstance(pin.space, str) or not all(type(n) is int and n > 0 for n in (pin.version, pin.proteins)):
            raise ConfigError(f"{recorded!r:.200} is no pin: space is a name, version and proteins are whole numbers "
                              "from 1", where="pin")  # fmt: skip
        return pin


class View:
    """The tables of one pin. What is read does not change while the store grows."""

    def __init__(self, location: Location, pin: Pin) -> None:
        self.location = location
        self.pin = pin

    @classmethod
    def open(cls, location: Location, space: str | Pin, version: int | None = None) -> View:
        """Resolve a space, alias or pin now; warns of a space that was never trained.

        Raises UnknownSpaceError, and StoreError for a version that is gone.
        """
        view = cls(location, space if isinstance(space, Pin) else _pin_now(location, space, version))
        tell_untrained(location, view.info)
        return view

    @cached_property
    def vectors(self) -> lance.LanceDataset:
        """The space's table."""
        return open_pinned(self.location, self.pin.space, self.pin.version)

    @cached_property
    def proteins(self) -> lance.LanceDataset:
        """The proteins' table."""
        return open_pinned(self.location, PROTEINS_TABLE, self.pin.proteins)

    @cached_property
    def info(self) -> SpaceInfo:
        """The recipe, checkpoint and run of the space; raises StoreError where the table is not a vector space."""
        found = SpaceInfo.from_schema(self.vectors.schema)
        if found is None:
            raise StoreError(f"{self.vectors.uri} is not a vector space of this package")
        return found

    @cached_property
    def facts(self) -> dict[str, Any]:
        """`widths` by pooling, `store_dtype`, `residue_width` and `tokens`."""
        return vector_facts(self.vectors.schema)

    @property
    def poolings(self) -> list[str]:
        """Columns of pooled vectors."""
        return list(self.facts["widths"])

    def split_columns(self, columns: Sequence[str] | None, also: Sequence[str] = ()) -> tuple[list[str], list[str]]:
        """Columns of the proteins and of the space; None: ids, lengths, descriptions and all pooled vectors.

        `id` and `key` always come first. Raises ConfigError that lists unknown names; `also` are those that the caller
        takes besides.
        """
        own = [n for n in self.vectors.schema.names if n not in ("key", RESIDUES, LOGITS)]
        if columns is None:
            chunk = CHUNK if self.info.chunked else ()
            return list(DESCRIBES), [*chunk, *self.poolings]
        unknown = [c for c in columns if c not in own and c not in PROTEINS_SCHEMA.names]
        if unknown:
            matrices = [f".{name}(id)" for name in (RESIDUES, LOGITS) if name in unknown]
            hint = f" (read matrices with {' and '.join(matrices)})" if matrices else ""
            known = ", ".join([*PROTEINS_SCHEMA.names, *own, *also])
            raise ConfigError(f"unknown columns {', '.join(unknown)}{hint}; known: {known}", where="columns")
        chosen = [c for c in columns if c in PROTEINS_SCHEMA.names and c not in ("id", "key")]
        return ["id", "key", *chosen], [c for c in columns if c in own]

    @cached_property
    def _readable(self) -> str | None:
        """Filter for the records that were read in the space's alphabet; None in a store that has amino acids alone."""
        sources = find_table(self.location.table(SOURCES_TABLE))
        if sources is None or not sources.count_rows(of_alphabet("3di")):
            return None
        return of_alphabet(self.info.config.get("alphabet"))

    def records(self, filter: str | None, columns: Sequence[str]) -> pa.Table:
        """Protein records of the space's alphabet that match a SQL filter, in row order.

        Raises ConfigError for a filter that is no SQL.
        """
        wanted = both(filter, self._readable) if self._readable else filter
        return matching(self.proteins, wanted, columns)

    def records_by(self, column: str, values: Sequence[str | bytes], columns: Sequence[str]) -> pa.Table:
        """Protein records whose `column` is one of `values`, in row order within each thousand values."""
        wanted = list(dict.fromkeys(values))
        parts = [wanted[i : i + _IDS_OF_ONE_FILTER] for i in range(0, len(wanted), _IDS_OF_ONE_FILTER)] or [[]]
        return pa.concat_tables([self.records(among(column, part), columns) for part in parts])

    def records_of(self, keys: pa.Array, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Protein records of these keys, some hundred at a time, in row order, with `key` first; one pass over all."""
        wanted, chosen = KeyIndex(keys), ["key", *columns]
        for batch in self.proteins.to_batches(columns=chosen, filter=self._readable, batch_size=_RECORDS_AT_ONCE):
            yield batch.filter(pa.array(wanted.contains(batch.column("key"))))

    def rows_of(self, keys: pa.Array | pa.ChunkedArray, columns: Sequence[str]) -> pa.Table:
        """The space's rows of these keys, in the space's order, with `key` first."""
        wanted = KeyIndex(keys)
        if len(keys) * 10 > self.vectors.count_rows():
            return self._scan(wanted, ["key", *columns])
        batches = self.vectors.to_batches(columns=["key"], with_row_id=True)
        found = [b.column(ROW_ID).to_numpy()[wanted.contains(b.column("key"))] for b in batches]
        rows = np.concatenate(found) if found else np.zeros(0, np.uint64)
        return self.vectors._take_rows(rows.tolist(), columns=["key", *columns])

    def _scan(self, wanted: KeyIndex, columns: list[str]) -> pa.Table:
        """Filter one pass over the space, which costs less than taking rows when more than a tenth of it is wanted."""

        def hits() -> Iterator[pa.RecordBatch]:
            for batch in self.vectors.to_batches(columns=columns):
                yield batch.filter(pa.array(wanted.contains(batch.column("key"))))

        schema = pa.schema([self.vectors.schema.field(c) for c in columns])
        return pa.Table.from_batches(hits(), schema)

    def with_vectors(self, records: pa.Table, columns: Sequence[str]) -> tuple[pa.Table, np.ndarray]:
        """`records` (with `key`) joined to the space's `columns`: one row per record and chunk.

        The second value holds the row numbers of `records` that have no vector.
        """
        keys = records["key"]
        rows = self.rows_of(keys, columns)
        left, right = join(keys, rows["key"])
        joined = records.take(pa.array(left))
        vectors = rows.take(pa.array(right))
        for name in columns:
            joined = joined.append_column(rows.schema.field(name), vectors[name])
        without = np.setdiff1d(np.arange(len(records)), left)
        return joined, without

    def stamped(
        self, table: pa.Table, unknown: Sequence[str] = (), no_vector: Sequence[str] = (), rejected: Sequence[str] = ()
    ) -> pa.Table:
        """Write the pin, whether the space is trained, the unknown ids and keys, the ids without a vector, and rejected
        queries into the table's metadata."""
        missing = {"unknown": list(unknown), "without_vector": list(no_vector)}
        missing |= {"rejected": list(rejected)} if rejected else {}
        metadata = {PIN: json.dumps(self.pin.to_json()).encode(), MISSING: json.dumps(missing).encode()}
        metadata |= {TRAINED: json.dumps(self.info.trained).encode()}
        return table.replace_schema_metadata(metadata)


def _pin_now(location: Location, space: str, version: int | None) -> Pin:
    """The pin of a space or alias as it stands now."""
    name, at, beside = aliases.resolve_pinned(location, space, version)
    vectors = _open(location, name, at)
    proteins = _open(location, PROTEINS_TABLE, beside)
    return Pin(name, vectors.version, proteins.version)


def _open(location: Location, name: str, version: int | None) -> lance.LanceDataset:
    return open_table(location.table(name)) if version is None else open_pinned(location, name, version)


def is_trained(table: pa.Table) -> bool:
    """Whether the rows that a query gave are of a trained space."""
    return (table.schema.metadata or {}).get(TRAINED) != b"false"


def missing(table: pa.Table) -> dict[str, list[str]]:
    """What a query was asked for and did not find: `unknown` ids or keys (hex), ids `without_vector`, and of a search,
    where there are any, a sentence for each `rejected` query."""
    raw = (table.schema.metadata or {}).get(MISSING)
    return json.loads(raw) if raw else {"unknown": [], "without_vector": []}


def matching(proteins: lance.LanceDataset, filter: str | None, columns: Sequence[str]) -> pa.Table:
    """Rows of the proteins' table that match a user's SQL; raises ConfigError with Lance's message and the columns."""
    try:
        return proteins.to_table(columns=list(columns), filter=filter)
    except ValueError as error:
        if is_outage(error):
            raise
        known = ", ".join(PROTEINS_SCHEMA.names)
        said = message(error).rstrip(".? ")
        raise ConfigError(f"{filter!r}: {said}. Columns: {known}", where="where") from None


def distinct(records: pa.Table) -> pa.Table:
    """The first record of each (id, key): the same protein may come from several sources."""
    pairs = records.select(["id", "key"]).append_column("row", pa.array(np.arange(len(records))))
    first = pairs.group_by(["id", "key"]).aggregate([("row", "min")])["row_min"].to_numpy()
    return records if len(first) == len(records) else records.take(pa.array(np.sort(first)))


def matrix(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """A fixed-size list column as (n, D). A column of one chunk is not copied.

    >>> matrix(pa.FixedSizeListArray.from_arrays(pa.array([1, 2, 3, 4]), 2)).tolist()
    [[1, 2], [3, 4]]
    """
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return whole.flatten().to_numpy(zero_copy_only=False).reshape(len(whole), whole.type.list_size)
