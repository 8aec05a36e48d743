"""Import vectors that another program computed into a space of their own, marked as imported.

Each item of a file is matched to a protein of the store, by its letters or by its id, and becomes a row once for each
key. Rows are committed in groups under the lease, and every item is accounted for.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from protea_ray.cluster.progress import SILENT, Reporter
from protea_ray.display import record_text
from protea_ray.errors import AccountingError, InputError, StoreError
from protea_ray.exchange.formats import VectorFile
from protea_ray.exchange.imported_space import ImportOptions, ImportShape, describe
from protea_ray.exchange.matching import AMBIGUOUS, ProteinFinder, StoredProtein
from protea_ray.exchange.vector_files import VectorItem
from protea_ray.sequences.accessions import examples
from protea_ray.sequences.records import KEY, KEY_BYTES
from protea_ray.store.commit import GroupCommitter, Writer, write_fragments
from protea_ray.store.keys import KeyIndex, key_array
from protea_ray.store.ledger import present_keys
from protea_ray.store.location import PROTEINS_TABLE, Location
from protea_ray.store.rows import space_rows
from protea_ray.store.runs import record_run
from protea_ray.store.spaces import SpaceInfo, ensure_space
from protea_ray.store.tables import find_table

NO_KEY = bytes(KEY_BYTES)
_log = logging.getLogger("protea_ray")
_ITEMS_OF_A_UNIT, _BYTES_OF_A_UNIT = 4096, 64 << 20


@dataclass(frozen=True)
class Row:
    """One row of the space: a protein of `length` residues, of which the vectors saw `seen`."""

    key: bytes
    length: int
    seen: int
    vectors: dict[str, np.ndarray]
    residues: np.ndarray | None


def row_of(item: VectorItem, protein: StoredProtein, shape: ImportShape, options: ImportOptions) -> Row | str:
    """The row of an item, or the reason of its reject: unreadable, shape, length or non_finite.

    Rows of the start and end tokens are cut from a residue matrix that may have them.
    """
    if item.problem:
        return item.problem
    if ImportShape.of(item, options) != shape:
        return "shape"
    residues = item.residues
    if residues is not None:
        if item.matrix_is == "with_ends" and len(residues) == protein.length + 2:
            residues = residues[1:-1]
        if len(residues) != protein.length and not (item.matrix_is == "cut" and len(residues) < protein.length):
            return "length"
    dtype = np.dtype(options.store_dtype)
    arrays = [*item.vectors.values(), *([residues] if residues is not None else [])]
    with np.errstate(over="ignore"):  # what float16 cannot hold becomes Inf
        if not all(np.isfinite(array.astype(dtype)).all() for array in arrays):
            return "non_finite"
    vectors = {name or options.pooling: vector for name, vector in item.vectors.items()}
    return Row(protein.key, protein.length, protein.length if residues is None else len(residues), vectors, residues)


def table_of(rows: Sequence[Row], unit: str, shape: ImportShape, schema: pa.Schema) -> pa.Table:
    """Rows as a table in the space's schema, all of one unit."""
    return space_rows(
        schema,
        keys=[row.key for row in rows],
        unit=unit,
        spans=[(0, row.seen) for row in rows],
        n_residues=[row.length for row in rows],
        n_residues_seen=[row.seen for row in rows],
        n_windows=[1] * len(rows),
        truncated=[row.seen < row.length for row in rows],
        vectors={name: np.stack([row.vectors[name] for row in rows]) for name in shape.widths},
        residues=[row.residues for row in rows if row.residues is not None] if shape.residue_width else None,
    )


@dataclass(repr=False)
class Imported:
    """What became of a file's items; `read` is the sum of the counts below it.

    `rejected` counts by reason: unreadable, shape (not that of the first item), length (of the residue matrix) and
    non_finite. `unmatched` items belong to no protein of the store. The id of `ambiguous` ones stands for several
    sequences, or is the accession of several proteins: which of them the vector was computed from is not in the file.
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
    ambiguous: int = 0
    ambiguous_names: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        return record_text("imported", self.to_json())

    def check(self) -> None:
        """Raises AccountingError unless every item is accounted for."""
        left = self.unmatched + self.ambiguous + sum(self.rejected.values())
        sum_of = self.stored + self.already_present + self.duplicate + left
        if sum_of != self.read:
            raise AccountingError(f"{self.read} items were read, {sum_of} are accounted for: {self.to_json()}")

    def to_json(self) -> dict[str, Any]:
        """Plain values; of the names the first twenty."""
        names = {"unmatched_names": self.unmatched_names[:20], "ambiguous_names": self.ambiguous_names[:20]}
        return {**asdict(self), **names}

    def require_some(self, path: Path, look_like: str) -> None:
        """Raise InputError that says why, when no vector of the file is in the space."""
        if self.stored or self.already_present:
            return
        why = [f"{count:,} rejected ({reason})" for reason, count in sorted(self.rejected.items())]
        if self.ambiguous:
            why.append(f"{self.ambiguous:,} whose id stands for several sequences ({examples(self.ambiguous_names)})")
        if self.unmatched:
            names = examples(self.unmatched_names)
            why.append(f"{self.unmatched:,} of no protein of the store: they look like {names}, the store's ids like "
                       f"{look_like}; --fasta adds proteins")  # fmt: skip
        raise InputError(f"{path}: none of {self.read:,} vectors can be stored, no space was made: {'; '.join(why)}")


def import_vectors(
    source: VectorFile, location: Location, options: ImportOptions, run: str, writer: Writer, report: Reporter = SILENT
) -> Imported:
    """Store every vector of `source` whose protein the store has and whose key the space lacks.

    The same call again adds nothing. Raises StoreError for a store without proteins, InputError for a file without a
    readable item or of which nothing is stored (no space is made then), AccountingError when the counts do not add up,
    StoreError and CommitError as a run does.
    """
    proteins = find_table(location.table(PROTEINS_TABLE))
    if proteins is None or not proteins.count_rows():
        raise StoreError(f"{location.uri} holds no proteins to match vectors to; --fasta adds some")
    report.work(f"importing {source.path.name}", "vectors")
    units = _units(source.items(options.layer, options.dataset))
    first = next(units, [])
    readable = next((item for item in first if not item.problem), None)
    if readable is None:
        why = ", ".join(sorted({item.problem for item in first if item.problem})) or "empty"
        raise InputError(f"{source.path} has no vector that can be read among its first {len(first)} items ({why})")
    shape = ImportShape.of(readable, options)
    info, schema = describe(shape, options, source.format, run)
    done, finder = Imported(info.name, source.format), ProteinFinder(proteins, hdf5=source.is_hdf5)
    done.stored = _store(
        _counted(chain([first], units), report), finder, info, schema, shape, options, location, writer, done
    )
    done.check()
    done.require_some(source.path, finder.look_like())
    for sentence in finder.sentences():
        _log.warning("%s: %s", source.path, sentence)
    record_run(location, run, done.to_json(), writer=writer, kind="import")
    return done


def _store(
    units: Iterable[list[VectorItem]],
    finder: ProteinFinder,
    info: SpaceInfo,
    schema: pa.Schema,
    shape: ImportShape,
    options: ImportOptions,
    location: Location,
    writer: Writer,
    done: Imported,
) -> int:
    """Commit the rows of all units and count the rest in `done`; returns how many. The first row makes the space."""
    uri, known = location.table(info.name), _KnownKeys(location, info.name)
    committer = GroupCommitter(writer, uri)
    made = False
    try:
        for number, items in enumerate(units):
            rows = list(_rows(items, finder.match(items), known, shape, options, done))
            if rows:
                made = made or bool(ensure_space(location, info, schema))
                unit = f"{info.run}.{number}"
                committer.add(unit, write_fragments(uri, table_of(rows, unit, shape, schema), schema), len(rows))
    finally:
        committer.flush()
    return committer.committed_rows


def _counted(units: Iterable[list[VectorItem]], report: Reporter) -> Iterator[list[VectorItem]]:
    """The units, each counted when the next one is asked for."""
    for items in units:
        yield items
        report.worked(len(items))


def _units(items: Iterable[VectorItem]) -> Iterator[list[VectorItem]]:
    """Items in lists of at most 4,096, or about 64 MB."""
    held, size = [], 0
    for item in items:
        held.append(item)
        size += sum(vector.nbytes for vector in item.vectors.values())
        size += item.residues.nbytes if item.residues is not None else 0
        if len(held) >= _ITEMS_OF_A_UNIT or size >= _BYTES_OF_A_UNIT:
            yield held
            held, size = [], 0
    if held:
        yield held


class _KnownKeys:
    """Keys that the space had before this import, and those that it has stored since."""

    def __init__(self, location: Location, space: str) -> None:
        self._before = KeyIndex(pa.chunked_array(list(present_keys(location, space)), KEY))
        self.now: set[bytes] = set()

    def before(self, proteins: Sequence[StoredProtein | str]) -> list[bool]:
        """Whether each protein's key was in the space before; False for what is no protein."""
        keys = key_array(protein.key if isinstance(protein, StoredProtein) else NO_KEY for protein in proteins)
        return self._before.contains(keys).tolist()


def _rows(
    items: Sequence[VectorItem],
    proteins: Sequence[StoredProtein | str],
    known: _KnownKeys,
    shape: ImportShape,
    options: ImportOptions,
    done: Imported,
) -> Iterator[Row]:
    """Yield the rows to store; count every other item in `done`."""
    for item, protein, before in zip(items, proteins, known.before(proteins), strict=True):
        done.read += 1
        name = item.id or (item.sequence or "")[:60]
        if protein == AMBIGUOUS:
            done.ambiguous += 1
            done.ambiguous_names.append(name)
        elif not isinstance(protein, StoredProtein):
            done.unmatched += 1
            done.unmatched_names.append(name)
        elif protein.key in known.now:
            done.duplicate += 1
        elif before:
            done.already_present += 1
        elif isinstance(row := row_of(item, protein, shape, options), Row):
            known.now.add(row.key)
            yield row
        else:
            done.rejected[row] = done.rejected.get(row, 0) + 1
