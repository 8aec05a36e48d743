"""Importing: items of a file become rows of a space, committed in groups, under the lease, each key once.

Whose vectors are these: items of a file matched to proteins of the store, by id or by their letters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import lance
import pyarrow as pa

from protea_ray.errors import AccountingError, InputError
from protea_ray.exchange.vector_files import Item, Source
from protea_ray.query.imports.space import ImportOptions, Row, Shape, describe, row_of, table_of
from protea_ray.sequences.record import RejectedError, key_of, normalise
from protea_ray.sequences.schema import KEY, KEY_BYTES, PROTEINS
from protea_ray.store import names
from protea_ray.store.commit import GroupCommitter
from protea_ray.store.fragments import write_fragments
from protea_ray.store.keys import KeyIndex, key_array
from protea_ray.store.ledger import present_keys
from protea_ray.store.location import Location
from protea_ray.store.runs import record_run
from protea_ray.store.space import ensure_space
from protea_ray.store.sql import among
from protea_ray.store.tables import ensure_table

_OF_ONE_FILTER = 1000  # values


@dataclass(frozen=True)
class Protein:
    """A protein that the store knows: its key and its number of residues."""

    key: bytes
    length: int


def match(proteins: lance.LanceDataset, items: Sequence[Item]) -> list[Protein | None]:
    """The protein of each item; None where the store has none, or several different ones under that id.

    A label of several words (fair-esm keeps the whole FASTA header) is looked up whole, then by its first word.
    """
    keys = [_key(item.sequence) for item in items]
    by_key = _by(proteins, "key", (key for key in keys if key is not None))
    ids = [item.id for item, key in zip(items, keys, strict=True) if key is None and item.id]
    by_id = _by(proteins, "id", dict.fromkeys([*ids, *(_first_word(id) for id in ids)]))
    named = [by_id.get(item.id or "") or by_id.get(_first_word(item.id)) for item in items]
    return [_only(by_key.get(key) if key is not None else other) for key, other in zip(keys, named, strict=True)]


def _key(sequence: str | None) -> bytes | None:
    if sequence is None:
        return None
    try:
        return key_of(normalise(sequence))
    except RejectedError:
        return b""  # letters that no store holds


def _first_word(id: str | None) -> str:
    return id.split(maxsplit=1)[0] if id and id.strip() else ""


def _by(proteins: lance.LanceDataset, column: str, values: Iterable[str | bytes]) -> dict[str | bytes, set[Protein]]:
    """Every protein under each value."""
    wanted = [v for v in values if v and (isinstance(v, bytes) or "\0" not in v)]
    found: dict[str | bytes, set[Protein]] = {}
    columns = list(dict.fromkeys([column, "key", "length"]))
    for start in range(0, len(wanted), _OF_ONE_FILTER):
        part = among(column, wanted[start : start + _OF_ONE_FILTER])
        for row in proteins.to_table(columns=columns, filter=part).to_pylist():
            found.setdefault(row[column], set()).add(Protein(row["key"], row["length"]))
    return found


def _only(found: set[Protein] | None) -> Protein | None:
    return next(iter(found)) if found and len(found) == 1 else None


NO_KEY = bytes(KEY_BYTES)
_ITEMS_OF_A_UNIT, _BYTES_OF_A_UNIT = 4096, 64 << 20


@dataclass
class Imported:
    """What became of a file's items; `read` is the sum of the counts below it.

    `rejected` counts by reason: unreadable, shape (not that of the first item), length (of the residue matrix) and
    non_finite. `unmatched` items belong to no protein of the store, or their id to several.
    """

    space: str
    format: str
    read: int = 0
    stored: int = 0
    already_present: int = 0
    duplicate: int = 0
    unmatched: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    unmatched_names: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Raises AccountingError unless every item is accounted for."""
        sum_of = self.stored + self.already_present + self.duplicate + self.unmatched + sum(self.rejected.values())
        if sum_of != self.read:
            raise AccountingError(f"{self.read} items were read, {sum_of} are accounted for: {self.to_json()}")

    def to_json(self) -> dict[str, Any]:
        """Plain values; of the unmatched the first twenty."""
        return {**asdict(self), "unmatched_names": self.unmatched_names[:20]}


def import_vectors(
    source: Source, location: Location, options: ImportOptions, run: str, guard: Callable[[], None]
) -> Imported:
    """Take every vector of `source` whose protein the store has and whose key the space lacks.

    `guard` is the lease's. Repeating it is harmless. Raises InputError for a file without a readable item, StoreError
    and CommitError as a run does.
    """
    proteins = ensure_table(location.table(names.PROTEINS), PROTEINS)
    units = _units(source.items(options.layer))
    first = next(units, [])
    readable = next((item for item in first if not item.problem), None)
    if readable is None:
        raise InputError(f"{source.path} has no vector that can be read among its first {len(first)} items")
    shape = Shape.of(readable, options)
    info, schema = describe(shape, options, source.format, run)
    ensure_space(location, info, schema)
    uri = location.table(info.name)
    done, known = Imported(info.name, source.format), _Known(location, info.name)
    committer = GroupCommitter(uri, guard=guard)
    try:
        for number, items in enumerate(_chain(first, units)):
            rows = list(_rows(items, match(proteins, items), known, shape, options, done))
            if rows:
                unit = f"{run}.{number}"
                committer.add(unit, write_fragments(uri, table_of(rows, unit, shape, schema), schema), len(rows))
    finally:
        committer.flush()
    done.stored = committer.committed_rows
    done.check()
    record_run(location, run, done.to_json(), guard=guard, kind="import")
    return done


def _units(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Items in lists of at most 4,096, or about 64 MB."""
    held, size = [], 0
    for item in items:
        held.append(item)
        size += sum(v.nbytes for v in item.vectors.values()) + (
            item.residues.nbytes if item.residues is not None else 0
        )
        if len(held) >= _ITEMS_OF_A_UNIT or size >= _BYTES_OF_A_UNIT:
            yield held
            held, size = [], 0
    if held:
        yield held


def _chain(first: list[Item], rest: Iterator[list[Item]]) -> Iterator[list[Item]]:
    yield first
    yield from rest


class _Known:
    """Keys that the space had before, and those that this import took."""

    def __init__(self, location: Location, space: str) -> None:
        self._before = KeyIndex(pa.chunked_array(list(present_keys(location, space)), KEY))
        self.now: set[bytes] = set()

    def before(self, proteins: Sequence[Protein | None]) -> list[bool]:
        """Of each protein, in one look."""
        keys = key_array(protein.key if protein is not None else NO_KEY for protein in proteins)
        return self._before.contains(keys).tolist()


def _rows(
    items: Sequence[Item],
    proteins: Sequence[Protein | None],
    known: _Known,
    shape: Shape,
    options: ImportOptions,
    done: Imported,
) -> Iterator[Row]:
    """Rows to store; everything else is counted in `done`."""
    for item, protein, before in zip(items, proteins, known.before(proteins), strict=True):
        done.read += 1
        if protein is None:
            done.unmatched += 1
            done.unmatched_names.append(item.id or (item.sequence or "")[:60])
        elif protein.key in known.now:
            done.duplicate += 1
        elif before:
            done.already_present += 1
        elif isinstance(row := row_of(item, protein, shape, options), Row):
            known.now.add(row.key)
            yield row
        else:
            done.rejected[row] = done.rejected.get(row, 0) + 1
