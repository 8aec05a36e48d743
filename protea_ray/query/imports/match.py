"""Whose vectors are these: items of a file matched to proteins of the store, by id or by their letters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import lance

from protea_ray.exchange.vector_files import Item
from protea_ray.sequences.record import RejectedError, key_of, normalise
from protea_ray.store.sql import among

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
