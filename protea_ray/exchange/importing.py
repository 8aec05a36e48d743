"""Import vectors that another program computed into a space of their own, marked as imported.

Each item of a file is matched to a protein of the store, by its letters or by its id, and becomes a row once for each
key. Rows are committed in groups under the lease, and every item is accounted for.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import lance
import numpy as np
import pyarrow as pa

from protea_ray.config.libraries import OF_IMPORT, versions
from protea_ray.config.recipe import canonical_json, short_name
from protea_ray.errors import AccountingError, ConfigError, InputError
from protea_ray.exchange.vector_files import VectorFile, VectorItem
from protea_ray.sequences.records import KEY, KEY_BYTES, PROTEINS_SCHEMA, RejectedError, key_of, normalise
from protea_ray.store.commit import GroupCommitter, Writer, write_fragments
from protea_ray.store.keys import KeyIndex, key_array
from protea_ray.store.ledger import present_keys
from protea_ray.store.location import PROTEINS_TABLE, Location
from protea_ray.store.rows import space_rows, space_schema
from protea_ray.store.runs import record_run
from protea_ray.store.spaces import SpaceInfo, ensure_space
from protea_ray.store.sql import among
from protea_ray.store.tables import ensure_table

NO_KEY = bytes(KEY_BYTES)
_COLUMN_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_VALUES_OF_ONE_FILTER = 1000
_ITEMS_OF_A_UNIT, _BYTES_OF_A_UNIT = 4096, 64 << 20


@dataclass(frozen=True)
class ImportOptions:
    """How a file becomes a space; raises ConfigError that lists every option that cannot work.

    `model`: what computed the vectors. `pooling`: name for vectors whose file does not say how they were pooled.
    `layer`: one of several in fair-esm's files. `store_dtype`: float16 or float32.
    """

    model: str
    pooling: str = "mean"
    layer: int | None = None
    store_dtype: str = "float16"

    def __post_init__(self) -> None:
        problems = []
        if not self.model.strip():
            problems.append("model is empty; say what computed the vectors")
        if not _COLUMN_NAME.fullmatch(self.pooling) or self.pooling in space_schema({}, "float16", 1, {}).names:
            problems.append(f"pooling {self.pooling!r} cannot be a column; take a word such as mean")
        if self.store_dtype not in ("float16", "float32"):
            problems.append(f"store_dtype {self.store_dtype!r} is not float16 or float32")
        if problems:
            raise ConfigError(problems, where="import")


@dataclass(frozen=True)
class ImportShape:
    """Columns of the space: width of each pooled vector, and of residue matrices if it has them."""

    widths: dict[str, int]
    residue_width: int | None

    @classmethod
    def of(cls, item: VectorItem, options: ImportOptions) -> ImportShape:
        """The columns that one item has; those of the first readable item are the space's, other items are rejected."""
        widths = {name or options.pooling: len(vector) for name, vector in item.vectors.items()}
        return cls(widths, None if item.residues is None else item.residues.shape[1])


def describe(shape: ImportShape, options: ImportOptions, format: str, run: str) -> tuple[SpaceInfo, pa.Schema]:
    """The record and the schema of the space that a file's vectors go to.

    Its name is made of the file format, the model, the layer and the columns: the same ones are the same space,
    whatever the file is called.
    """
    columns = {"widths": shape.widths, "residue_width": shape.residue_width, "store_dtype": options.store_dtype}
    identity: dict[str, Any] = {"imported": format, "model": options.model, "layer": options.layer, **columns}
    digest = hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:8]
    pooling = [*shape.widths, *(["none"] if shape.residue_width else [])]
    info = SpaceInfo(
        name=f"{short_name(options.model)}-imported-{digest}",
        identity=identity,
        config={"model": options.model, "family": "imported", "pooling": pooling, "chunk_size": None,
                "store_dtype": options.store_dtype},
        checkpoint={"model": options.model, "revision": None, "files": {}},
        hidden=shape.residue_width or max(shape.widths.values()),
        run=run,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=versions(OF_IMPORT),
        imported=True,
    )  # fmt: skip
    return info, space_schema(shape.widths, options.store_dtype, shape.residue_width, {})


@dataclass(frozen=True)
class StoredProtein:
    """A protein that the store knows: its key and its number of residues."""

    key: bytes
    length: int


def match(proteins: lance.LanceDataset, items: Sequence[VectorItem]) -> list[StoredProtein | None]:
    """The protein of each item; None where the store has none, or several different ones under its id.

    An item is looked up by its letters, or by its id when the file has no letters. A label of several words (fair-esm
    keeps the whole FASTA header) is looked up whole, then by its first word.
    """
    keys = [_key_or_none(item.sequence) for item in items]
    by_key = _proteins_by(proteins, "key", (key for key in keys if key is not None))
    ids = [item.id for item, key in zip(items, keys, strict=True) if key is None and item.id]
    by_id = _proteins_by(proteins, "id", dict.fromkeys([*ids, *(_first_word(id) for id in ids)]))
    named = [by_id.get(item.id or "") or by_id.get(_first_word(item.id)) for item in items]
    return [_single(by_key.get(key) if key is not None else other) for key, other in zip(keys, named, strict=True)]


def _key_or_none(sequence: str | None) -> bytes | None:
    """Key of an item's letters; None when it has no letters, empty when they are no protein."""
    if sequence is None:
        return None
    try:
        return key_of(normalise(sequence))
    except RejectedError:
        return b""  # letters that no store holds


def _first_word(id: str | None) -> str:
    return id.split(maxsplit=1)[0] if id and id.strip() else ""


def _proteins_by(
    proteins: lance.LanceDataset, column: str, values: Iterable[str | bytes]
) -> dict[str | bytes, set[StoredProtein]]:
    """Every protein that has each value in `column`."""
    wanted = [v for v in values if v and (isinstance(v, bytes) or "\0" not in v)]
    by_value: dict[str | bytes, set[StoredProtein]] = {}
    columns = list(dict.fromkeys([column, "key", "length"]))
    for start in range(0, len(wanted), _VALUES_OF_ONE_FILTER):
        part = among(column, wanted[start : start + _VALUES_OF_ONE_FILTER])
        for row in proteins.to_table(columns=columns, filter=part).to_pylist():
            by_value.setdefault(row[column], set()).add(StoredProtein(row["key"], row["length"]))
    return by_value


def _single(proteins: set[StoredProtein] | None) -> StoredProtein | None:
    """The protein of a set of one."""
    return next(iter(proteins)) if proteins and len(proteins) == 1 else None


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
    source: VectorFile, location: Location, options: ImportOptions, run: str, writer: Writer
) -> Imported:
    """Store every vector of `source` whose protein the store has and whose key the space lacks.

    The same call again adds nothing. Raises InputError for a file without a readable item,
    AccountingError when the counts do not add up, StoreError and CommitError as a run does.
    """
    proteins = ensure_table(location.table(PROTEINS_TABLE), PROTEINS_SCHEMA)
    units = _units(source.items(options.layer))
    first = next(units, [])
    readable = next((item for item in first if not item.problem), None)
    if readable is None:
        raise InputError(f"{source.path} has no vector that can be read among its first {len(first)} items")
    shape = ImportShape.of(readable, options)
    info, schema = describe(shape, options, source.format, run)
    ensure_space(location, info, schema)
    uri = location.table(info.name)
    done, known = Imported(info.name, source.format), _KnownKeys(location, info.name)
    committer = GroupCommitter(writer, uri)
    try:
        for number, items in enumerate(chain([first], units)):
            rows = list(_rows(items, match(proteins, items), known, shape, options, done))
            if rows:
                unit = f"{run}.{number}"
                committer.add(unit, write_fragments(uri, table_of(rows, unit, shape, schema), schema), len(rows))
    finally:
        committer.flush()
    done.stored = committer.committed_rows
    done.check()
    record_run(location, run, done.to_json(), writer=writer, kind="import")
    return done


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

    def before(self, proteins: Sequence[StoredProtein | None]) -> list[bool]:
        """Whether each protein's key was in the space before; False for None."""
        keys = key_array(protein.key if protein is not None else NO_KEY for protein in proteins)
        return self._before.contains(keys).tolist()


def _rows(
    items: Sequence[VectorItem],
    proteins: Sequence[StoredProtein | None],
    known: _KnownKeys,
    shape: ImportShape,
    options: ImportOptions,
    done: Imported,
) -> Iterator[Row]:
    """Yield the rows to store; count every other item in `done`."""
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
