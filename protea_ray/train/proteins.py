"""The proteins of a training run: distinct sequences of a store at a pinned version, or of one table.

Both give the same object. Examples are numbered by the rows they were read from, so that the numbers, which decide
packs, crops and masks, are stable. Of proteins with the same letters the first is kept. `from_table` needs neither
Lance nor Ray.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from protea_ray.errors import ConfigError, InputError, StoreError
from protea_ray.sequences.records import KEY, RejectedError, key_of, normalise
from protea_ray.train.letter_blocks import Letters, StoreLetters, TableLetters, bytes_of

IS_VALIDATION = ("is_validation", "split")  # names of the column of a table that says so, True for validation
UNCLUSTERED = -1
_NO_TOKEN = 255
_SHOWN = 5


@dataclass(frozen=True)
class Proteins:
    """n distinct proteins. `keys` (n,) Arrow of 16 bytes, `lengths` (n,) int64 residues, `cluster` (n,) int64.

    `split` (n,) is True for validation; `cluster` is -1 throughout where nobody has made clusters yet. `pin` is
    JSON-able and names what is read: `uri`, `version` (None for a table) and `digest`. `duplicates` were left out.
    """

    keys: pa.Array
    lengths: np.ndarray
    split: np.ndarray
    cluster: np.ndarray
    pin: dict[str, Any]
    duplicates: int
    letters: Letters

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def digest(self) -> str:
        """Sha256 of the keys in order, as hex."""
        return self.pin["digest"]

    @property
    def is_split(self) -> bool:
        """Whether there are clusters and a validation side."""
        return bool((self.cluster != UNCLUSTERED).all() and self.split.any())

    def with_split(self, cluster: np.ndarray, split: np.ndarray) -> Proteins:
        """The same proteins with other clusters and another validation side, both (n,)."""
        return replace(self, cluster=np.asarray(cluster, np.int64), split=np.asarray(split, bool))

    def sequences(self, examples: Sequence[int] | np.ndarray) -> list[str]:
        """Letters of some proteins, in the order asked for."""
        return [self.letters.of(example).tobytes().decode("ascii") for example in np.asarray(examples).tolist()]

    def ids(self, examples: Sequence[int] | np.ndarray) -> list[str]:
        """Ids of some proteins, for people."""
        return self.letters.ids(np.asarray(examples, np.int64))

    def tokens(self, examples: Sequence[int] | np.ndarray, lookup: np.ndarray) -> list[np.ndarray]:
        """Token ids of some proteins without special tokens, each (length,) uint8; `lookup` is that of `token_lookup`.

        Raises InputError for a letter that the model has no token for, which the 26 of a checked family all have.
        """
        numbers = np.asarray(examples).tolist()
        found = [lookup[self.letters.of(example)] for example in numbers]
        for example, tokens in zip(numbers, found, strict=True):
            if tokens.size and tokens.max() == _NO_TOKEN:
                letter = chr(self.letters.of(example)[int(np.argmax(tokens))])
                raise InputError(f"{self.ids([example])[0]}: the model has no token for the letter {letter!r}")
        return found


def token_lookup(table: np.ndarray) -> np.ndarray:
    """Token ids by ASCII code as (256,) uint8, from a family's `Alphabet.table`, -1 where there is none.

    Raises ConfigError for a vocabulary whose letters do not fit, above 254.
    """
    if table.max() >= _NO_TOKEN:
        raise ConfigError(f"token id {table.max()} of a letter is above {_NO_TOKEN - 1}", where="vocabulary")
    return np.where(table < 0, _NO_TOKEN, table).astype(np.uint8)


def from_store(uri: str | Path, version: int | None = None, filter: str | None = None) -> Proteins:
    """The amino-acid proteins of a store, at the latest or a given version of its table `proteins`, in row order.

    `filter` is SQL over that table's columns. Raises ConfigError for a filter that is not valid or that nothing passes,
    StoreError for a store or version that is not there. Only keys, lengths and row ids are read here.
    """
    from protea_ray.store.ledger import ROW_ID
    from protea_ray.store.location import PROTEINS_TABLE, open_location
    from protea_ray.store.tables import open_table

    location = open_location(uri)
    table = open_table(location.table(PROTEINS_TABLE), version)
    found = _scan(table, filter)
    if not len(found):
        what = "holds no protein" if filter is None else f"holds no protein that passes {filter!r}"
        raise ConfigError(f"{location.uri} {what} (amino acids, version {table.version})", where="proteins")
    first = first_of_each(found["key"])
    keys = found["key"].combine_chunks().take(pa.array(first))
    lengths = found["length"].to_numpy()[first].astype(np.int64)
    letters = StoreLetters(location, table.version, found[ROW_ID].to_numpy()[first])
    return _proteins(keys, lengths, letters, len(found), {"uri": location.uri, "version": table.version})


def _scan(table: Any, filter: str | None) -> pa.Table:
    """Key, length and row id of the amino-acid records that pass the filter."""
    from protea_ray.store.ledger import of_alphabet
    from protea_ray.store.object_store_errors import is_store_failure, message, store_failure
    from protea_ray.store.sql import both

    try:
        return table.to_table(columns=["key", "length"], filter=both(of_alphabet("aa"), filter), with_row_id=True)
    except (OSError, ValueError, RuntimeError) as error:
        if is_store_failure(error):
            raise store_failure(error) from error
        if filter is None or not isinstance(error, ValueError):
            raise StoreError(f"{table.uri} cannot be read: {message(error)}") from error
        known = ", ".join(table.schema.names)
        raise ConfigError(f"{filter!r}: {message(error)}. Columns: {known}", where="filter") from error


def from_table(source: pa.Table | str | Path) -> Proteins:
    """The proteins of a Parquet file or an Arrow table with columns `id` and `sequence`, in their order.

    Optional columns are `cluster` (whole numbers) and `is_validation` or `split` (booleans). Raises InputError that
    lists what is missing, of another type, null, or not letters of a protein.
    """
    where = str(source) if isinstance(source, str | Path) else "the table"
    table: pa.Table = _read_parquet(Path(source)) if isinstance(source, str | Path) else source
    _require_columns(table, where)
    keys, texts = _checked(table, where)
    first = first_of_each(keys)
    letters = pa.table({"id": table["id"], "sequence": pa.array(texts, pa.large_string())}).take(pa.array(first))
    lengths = np.diff(bytes_of(letters["sequence"])[0])
    pin = {"uri": where if isinstance(source, str | Path) else None, "version": None}
    made = _proteins(keys.take(pa.array(first)), lengths, TableLetters(letters), len(table), pin)
    flag = next((name for name in IS_VALIDATION if name in table.column_names), None)
    split = table[flag].to_numpy()[first] if flag else made.split
    cluster = table["cluster"].to_numpy()[first] if "cluster" in table.column_names else made.cluster
    return made.with_split(cluster, split)


def _read_parquet(path: Path) -> pa.Table:
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path, columns=None)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{path}: cannot be read as Parquet: {error}") from error


def _require_columns(table: pa.Table, where: str) -> None:
    """Raise InputError that lists every column which is missing, of a wrong type or holds null."""
    checks = {"id": _is_text, "sequence": _is_text, "cluster": pa.types.is_integer}
    checks |= dict.fromkeys(IS_VALIDATION, pa.types.is_boolean)
    missing = [name for name in ("id", "sequence") if name not in table.column_names]
    problems = [f"{where}: has no column {name}; it has {', '.join(table.column_names)}" for name in missing]
    for name in [name for name in checks if name in table.column_names]:
        if not checks[name](table[name].type):
            problems.append(f"{where}: column {name} is {table[name].type}")
        elif table[name].null_count:
            problems.append(f"{where}: column {name} is null in {table[name].null_count:,} row(s)")
    if not problems and not len(table):
        problems.append(f"{where}: holds no protein")
    if problems:
        raise InputError(problems)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _checked(table: pa.Table, where: str) -> tuple[pa.Array, list[str]]:
    """Keys and normalised letters of all rows; raises InputError that lists the first bad rows."""
    keys: list[bytes] = []
    texts: list[str] = []
    problems: list[str] = []
    for row, letters in enumerate(table["sequence"].to_pylist(), 1):
        try:
            texts.append(normalise(letters))
            keys.append(key_of(texts[-1]))
        except RejectedError as error:
            problems.append(f"{where}: row {row:,} ({table['id'][row - 1].as_py()}): {error}")
    if problems:
        more = [f"and {len(problems) - _SHOWN:,} more row(s)"] if len(problems) > _SHOWN else []
        raise InputError(problems[:_SHOWN] + more)
    return pa.array(keys, KEY), texts


def first_of_each(keys: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Rows of the first occurrence of every key, ascending."""
    rows = pa.table({"key": keys, "row": np.arange(len(keys))}).group_by("key").aggregate([("row", "min")])
    return np.sort(rows["row_min"].to_numpy())


def _proteins(keys: pa.Array, lengths: np.ndarray, letters: Letters, rows: int, pin: dict[str, Any]) -> Proteins:
    """Proteins without clusters, all for training; `rows` were read, duplicates included."""
    digest = hashlib.sha256()
    for key in keys.to_pylist():
        digest.update(key)
    none, zero = np.full(len(keys), UNCLUSTERED, np.int64), np.zeros(len(keys), bool)
    return Proteins(keys, lengths, zero, none, {**pin, "digest": digest.hexdigest()}, rows - len(keys), letters)
