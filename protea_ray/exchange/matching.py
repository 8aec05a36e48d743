"""Which protein of a store an imported vector belongs to: by its letters, or by its id where it has no letters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import lance
import numpy as np

from protea_ray.exchange.vector_files import VectorItem
from protea_ray.sequences.accessions import WAYS, StoredIds, examples, match_ids
from protea_ray.sequences.records import RejectedError, key_of, normalise
from protea_ray.store.sql import among

UNMATCHED: Literal["unmatched"] = "unmatched"
AMBIGUOUS: Literal["ambiguous"] = "ambiguous"
_VALUES_OF_ONE_FILTER = 1000


@dataclass(frozen=True)
class StoredProtein:
    """A protein that the store knows: its key and its number of residues."""

    key: bytes
    length: int


class ProteinFinder:
    """Looks up the proteins of one store. `by_way` counts the ids that were matched otherwise than as they stand.

    `hdf5`: ids are names of HDF5 data sets, whose writers replace punctuation.
    """

    def __init__(self, proteins: lance.LanceDataset, *, hdf5: bool = False) -> None:
        self.by_way: dict[str, list[str]] = {}
        self._proteins = proteins
        self._hdf5 = hdf5

    @cached_property
    def _ids(self) -> StoredIds:
        """All ids of the store, read when the first item without letters comes."""
        return StoredIds(self._proteins.to_table(columns=["id"])["id"], hdf5=self._hdf5)

    def match(self, items: Sequence[VectorItem]) -> list[StoredProtein | Literal["unmatched", "ambiguous"]]:
        """The protein of each item, UNMATCHED, or AMBIGUOUS where its id stands for several sequences or proteins.

        A key decides before letters, and letters before an id. A label of several words (fair-esm keeps the whole FASTA
        header) is looked up whole, then by its first word.
        """
        keys = [item.key or _key_or_none(item.sequence) for item in items]
        by_key = _proteins_by(self._proteins, "key", (key for key in keys if key is not None))
        ids = self._stored_ids([item.id for item, key in zip(items, keys, strict=True) if key is None and item.id])
        by_id = _proteins_by(self._proteins, "id", (id for id in ids.values() if id))
        return [
            _single(by_key.get(key)) if key is not None else _of_id(item.id or "", ids, by_id)
            for item, key in zip(items, keys, strict=True)
        ]

    def _stored_ids(self, ids: list[str]) -> dict[str, str | None]:
        """The stored id of each id that has one; None for one that several stored ids share."""
        whole = match_ids(ids, self._ids)
        exact = {ids[row]: whole.ids[row].as_py() for row in np.flatnonzero(whole.way == 0).tolist()}
        left = [(id, word) for id in ids if id not in exact and (word := _first_word(id))]
        return exact | self._by_words(left) if left else exact

    def _by_words(self, words_of_ids: list[tuple[str, str]]) -> dict[str, str | None]:
        """What `match_ids` finds for each first word, under the id that it is of; notes how."""
        ids, words = [id for id, _ in words_of_ids], [word for _, word in words_of_ids]
        match = match_ids(words, self._ids)
        stored = match.ids.to_pylist()
        for row in np.flatnonzero((match.way > 0) & ~match.several).tolist():
            self.by_way.setdefault(WAYS[match.way[row]], []).append(f"{words[row]} is {stored[row]}")
        shared: dict[str, str | None] = {ids[row]: None for row in np.flatnonzero(match.several).tolist()}
        return shared | {id: found for id, found in zip(ids, stored, strict=True) if found is not None}

    def sentences(self) -> list[str]:
        """How ids were matched that are not stored as they stand."""
        return [f"{len(pairs):,} ids were matched by {way} ({', '.join(pairs[:3])}{', ...' * (len(pairs) > 3)})"
                for way, pairs in self.by_way.items()]  # fmt: skip

    def look_like(self) -> str:
        """A few ids of the store, for a message."""
        return examples(self._proteins.to_table(columns=["id"], limit=4)["id"].to_pylist())


def _key_or_none(sequence: str | None) -> bytes | None:
    """Key of an item's letters; None when it has no letters, empty when they are no protein."""
    if sequence is None:
        return None
    try:
        return key_of(normalise(sequence))
    except RejectedError:
        return b""  # letters that no store holds


def _first_word(id: str) -> str:
    return id.split(maxsplit=1)[0] if id.strip() else ""


def _proteins_by(
    proteins: lance.LanceDataset, column: str, values: Iterable[str | bytes]
) -> dict[str | bytes, set[StoredProtein]]:
    """Every protein that has each value in `column`."""
    wanted = [v for v in dict.fromkeys(values) if v]
    by_value: dict[str | bytes, set[StoredProtein]] = {}
    columns = list(dict.fromkeys([column, "key", "length"]))
    for start in range(0, len(wanted), _VALUES_OF_ONE_FILTER):
        part = among(column, wanted[start : start + _VALUES_OF_ONE_FILTER])
        for row in proteins.to_table(columns=columns, filter=part).to_pylist():
            by_value.setdefault(row[column], set()).add(StoredProtein(row["key"], row["length"]))
    return by_value


def _of_id(
    id: str, ids: dict[str, str | None], by_id: dict[str | bytes, set[StoredProtein]]
) -> StoredProtein | Literal["unmatched", "ambiguous"]:
    """The protein of an id of the file, through the stored id that it was matched to."""
    stored = ids.get(id, "")
    return AMBIGUOUS if stored is None else _single(by_id.get(stored))


def _single(proteins: set[StoredProtein] | None) -> StoredProtein | Literal["unmatched", "ambiguous"]:
    """The protein of a set of one."""
    if not proteins:
        return UNMATCHED
    return next(iter(proteins)) if len(proteins) == 1 else AMBIGUOUS
