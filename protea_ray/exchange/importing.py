"""Importing: items of a file become rows of a space, committed in groups, under the lease, each key once.

Whose vectors are these: items of a file matched to proteins of the store, by id or by their letters.

An imported space: what it is called, what its columns are, and rows of it from a file's items.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import lance
import numpy as np
import pyarrow as pa

from protea_ray.config.recipe import canonical_json
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

_OF_ONE_FILTER = 1000  # values


@dataclass(frozen=True)
class StoredProtein:
    """A protein that the store knows: its key and its number of residues."""

    key: bytes
    length: int


def match(proteins: lance.LanceDataset, items: Sequence[VectorItem]) -> list[StoredProtein | None]:
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


def _by(
    proteins: lance.LanceDataset, column: str, values: Iterable[str | bytes]
) -> dict[str | bytes, set[StoredProtein]]:
    """Every protein under each value."""
    wanted = [v for v in values if v and (isinstance(v, bytes) or "\0" not in v)]
    found: dict[str | bytes, set[StoredProtein]] = {}
    columns = list(dict.fromkeys([column, "key", "length"]))
    for start in range(0, len(wanted), _OF_ONE_FILTER):
        part = among(column, wanted[start : start + _OF_ONE_FILTER])
        for row in proteins.to_table(columns=columns, filter=part).to_pylist():
            found.setdefault(row[column], set()).add(StoredProtein(row["key"], row["length"]))
    return found


def _only(found: set[StoredProtein] | None) -> StoredProtein | None:
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
    source: VectorFile, location: Location, options: ImportOptions, run: str, writer: Writer
) -> Imported:
    """Take every vector of `source` whose protein the store has and whose key the space lacks.

    Repeating it is harmless. Raises InputError for a file without a readable item, StoreError and CommitError as a
    run does.
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
    done, known = Imported(info.name, source.format), _Known(location, info.name)
    committer = GroupCommitter(writer, uri)
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
    record_run(location, run, done.to_json(), writer=writer, kind="import")
    return done


def _units(items: Iterable[VectorItem]) -> Iterator[list[VectorItem]]:
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


def _chain(first: list[VectorItem], rest: Iterator[list[VectorItem]]) -> Iterator[list[VectorItem]]:
    yield first
    yield from rest


class _Known:
    """Keys that the space had before, and those that this import took."""

    def __init__(self, location: Location, space: str) -> None:
        self._before = KeyIndex(pa.chunked_array(list(present_keys(location, space)), KEY))
        self.now: set[bytes] = set()

    def before(self, proteins: Sequence[StoredProtein | None]) -> list[bool]:
        """Of each protein, in one look."""
        keys = key_array(protein.key if protein is not None else NO_KEY for protein in proteins)
        return self._before.contains(keys).tolist()


def _rows(
    items: Sequence[VectorItem],
    proteins: Sequence[StoredProtein | None],
    known: _Known,
    shape: ImportShape,
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


_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_UNSAFE = re.compile(r"[^A-Za-z0-9_.]+")
_LIBRARIES = ("protea-ray", "pylance", "pyarrow")


@dataclass(frozen=True)
class ImportOptions:
    """`model` is what computed the vectors, `pooling` names vectors whose file does not say how they were pooled,
    `layer` chooses one of several in fair-esm's files."""

    model: str
    pooling: str = "mean"
    layer: int | None = None
    store_dtype: str = "float16"

    def __post_init__(self) -> None:
        problems = []
        if not self.model.strip():
            problems.append("model is empty; say what computed the vectors")
        if not _NAME.fullmatch(self.pooling) or self.pooling in space_schema({}, "float16", 1, {}).names:
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
        """The first readable item decides; whoever differs is rejected."""
        widths = {name or options.pooling: len(vector) for name, vector in item.vectors.items()}
        return cls(widths, None if item.residues is None else item.residues.shape[1])


def describe(shape: ImportShape, options: ImportOptions, format: str, run: str) -> tuple[SpaceInfo, pa.Schema]:
    """The same file format, model, layer and columns are the same space, whatever the file is called."""
    columns = {"widths": shape.widths, "residue_width": shape.residue_width, "store_dtype": options.store_dtype}
    identity: dict[str, Any] = {"imported": format, "model": options.model, "layer": options.layer, **columns}
    digest = hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:8]
    short = _UNSAFE.sub("_", options.model.rstrip("/").rsplit("/", 1)[-1]).strip("._") or "model"
    pooling = [*shape.widths, *(["none"] if shape.residue_width else [])]
    info = SpaceInfo(
        name=f"{short[:80]}-imported-{digest}",
        identity=identity,
        config={"model": options.model, "family": "imported", "pooling": pooling, "chunk_size": None,
                "store_dtype": options.store_dtype},
        checkpoint={"model": options.model, "revision": None, "files": {}},
        hidden=shape.residue_width or max(shape.widths.values()),
        run=run,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={name: version(name) for name in _LIBRARIES},
        imported=True,
    )  # fmt: skip
    return info, space_schema(shape.widths, options.store_dtype, shape.residue_width, {})


@dataclass(frozen=True)
class Row:
    """One protein of the space; `seen` residues have a row in `residues`."""

    key: bytes
    length: int
    seen: int
    vectors: dict[str, np.ndarray]
    residues: np.ndarray | None


def row_of(item: VectorItem, protein: StoredProtein, shape: ImportShape, options: ImportOptions) -> Row | str:
    """The row, or one word that says why there is none: shape, length or non_finite."""
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
    """One unit of the space."""
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
