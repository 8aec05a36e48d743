"""A labelled file joined to the proteins of a store: one protein a key, in the order of keys, and what was lost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from protea_ray.errors import InputError
from protea_ray.evaluate.task import RESIDUE
from protea_ray.evaluate.tasks.labelled import TEST, TRAIN, LabelRow, TaskLabels, raise_if, some
from protea_ray.query import lookup
from protea_ray.query.view import View
from protea_ray.sequences.accessions import examples, match_ids
from protea_ray.sequences.records import key_of
from protea_ray.store.keys import key_array

Without = Callable[[pa.Array], np.ndarray]
_COLUMNS = ("id", "key", "length", "source", "sequence")


@dataclass(frozen=True)
class Joined:
    """Proteins of a task that are in the store: all are (n,), by key, each key once; `splits` are words or empty."""

    ids: tuple[str, ...]
    keys: tuple[bytes, ...]
    sequences: tuple[str, ...] = field(repr=False)
    values: tuple[Any, ...] = field(repr=False)
    splits: tuple[str, ...] = field(repr=False)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _StoredRow:
    """A row of the file and the stored protein that it stands for."""

    row: LabelRow
    value: Any
    key: bytes
    sequence: str


def join_store(labelled: TaskLabels, view: View, without: Without | None = None) -> Joined:
    """Find the stored protein of each row, by its id and then by accession.

    Of an id with several stored sequences that counts which the file gives, else the newest. Rows of one sequence are
    merged where their labels and splits are equal, else left out. Raises InputError where no protein is in the store,
    none of the training or of the tested ones, or states do not fit the stored residues.
    """
    found, notes = _stored(labelled, view)
    found, of_letters = _same_letters(labelled, found, view)
    if labelled.kind == RESIDUE:
        _require_states(labelled, found)
    merged, of_keys = _by_key(found)
    kept, of_vectors = _with_vectors(merged, without)
    _require_sides(labelled, kept, view)
    return Joined(
        tuple(f.row.id for f in kept),
        tuple(f.key for f in kept),
        tuple(f.sequence for f in kept),
        tuple(f.value for f in kept),
        tuple(f.row.split for f in kept),
        (*notes, *of_letters, *of_keys, *of_vectors),
    )


def _stored(labelled: TaskLabels, view: View) -> tuple[list[_StoredRow], list[str]]:
    """Each row whose id is in the store, with its record; and notes on the others."""
    asked = [row.id for row in labelled.rows]
    match = match_ids(asked, view.proteins.to_table(columns=["id"])["id"])
    stored = match.ids.to_pylist()
    records = _records(labelled, view, stored)
    pairs = zip(labelled.rows, labelled.values, stored, strict=True)
    found = [_StoredRow(row, value, *records[id]) for row, value, id in pairs if id in records]
    several = int(match.several.sum())
    notes = list(match.sentences())
    notes += [f"{several:,} ids stand for several proteins of the store and are left out "
              f"({'; '.join(match.ambiguities())})"] if several else []  # fmt: skip
    pairs = zip(asked, stored, match.several.tolist(), strict=True)
    lost = [id for id, there, shared in pairs if there not in records and not shared]
    if not found:
        raise InputError(f"{labelled.source}: none of {len(asked):,} proteins is in the store {view.location.uri}: "
                         f"their ids look like {examples(asked)}, and {lookup.examples_of_ids(view)}. "
                         f"{_embed(labelled, view)}")  # fmt: skip
    if lost:
        notes.append(f"{len(lost):,} of {len(asked):,} labelled proteins are not in the store ({some(lost)})"
                     f". {_embed(labelled, view)}")  # fmt: skip
    return found, notes


def _records(labelled: TaskLabels, view: View, stored: Sequence[str | None]) -> dict[str, tuple[bytes, str]]:
    """Key and letters by stored id: of several sequences the one that the file gives, else the newest."""
    table = view.records_by("id", [id for id in stored if id is not None], _COLUMNS)
    given = {id: key_of(row.letters) for row, id in zip(labelled.rows, stored, strict=True) if row.letters and id}
    pairs = zip(table["id"].to_pylist(), table["key"].to_pylist(), strict=True)
    exact = np.array([given.get(id) == key for id, key in pairs], bool)
    ids = table["id"].to_pylist()
    known = {ids[at] for at in np.flatnonzero(exact)}
    others = table.filter(pa.array([id not in known for id in ids], pa.bool_()))
    chosen = pa.concat_tables([table.filter(pa.array(exact)), lookup.newest(view, others)])
    columns = (chosen[name].to_pylist() for name in ("id", "key", "sequence"))
    return {id: (key, sequence) for id, key, sequence in zip(*columns, strict=True)}


def _same_letters(labelled: TaskLabels, found: list[_StoredRow], view: View) -> tuple[list[_StoredRow], list[str]]:
    """Without rows whose protein has other letters in the store than in the file. 3Di has other letters always."""
    if view.info.config.get("alphabet") == "3di":
        return found, []
    other = [f.row.id for f in found if f.row.letters and key_of(f.row.letters) != f.key]
    if not other:
        return found, []
    kept = [f for f in found if not f.row.letters or key_of(f.row.letters) == f.key]
    what = f"{len(other):,} proteins have other letters in the store than in the file ({some(other)})"
    if not kept:
        raise InputError(f"{labelled.source}: {what}. {_embed(labelled, view)}")
    return kept, [f"{what} and are left out"]


def _require_states(labelled: TaskLabels, found: Sequence[_StoredRow]) -> None:
    """Raise InputError that lists every protein whose states are more or fewer than its stored residues, and for a file
    of states that are the letters themselves."""
    raise_if([f"{labelled.source}:{f.row.line}: {f.row.id!r}: {len(f.value):,} states, and the stored protein has "
              f"{len(f.sequence):,} residues" for f in found if len(f.value) != len(f.sequence)])  # fmt: skip
    if all(f.value == f.sequence for f in found):
        raise InputError(f"{labelled.source} holds the letters of the proteins and no labels; name the file with "
                         "TARGET in its headers, or that with one state a residue")  # fmt: skip


def _by_key(found: Sequence[_StoredRow]) -> tuple[list[_StoredRow], list[str]]:
    """One row a key, by key and with the first id; rows that disagree are left out."""
    by_key: defaultdict[bytes, list[_StoredRow]] = defaultdict(list)
    for each in sorted(found, key=lambda f: (f.key, f.row.id)):
        by_key[each.key].append(each)
    kept, merged, unequal = list[_StoredRow](), list[str](), list[str]()
    for same in by_key.values():
        if any((f.value, f.row.split) != (same[0].value, same[0].row.split) for f in same):
            unequal.append(" = ".join(f.row.id for f in same))
            continue
        kept.append(same[0])
        merged += [" = ".join(f.row.id for f in same)] if len(same) > 1 else []
    notes = (
        [f"{len(merged):,} sequences stand under several ids with the same label and count once ({some(merged)})"]
        if merged
        else []
    )
    notes += [f"{len(unequal):,} sequences stand under several ids with different labels or splits and are left out "
              f"({some(unequal)})"] if unequal else []  # fmt: skip
    return kept, notes


def _with_vectors(found: list[_StoredRow], without: Without | None) -> tuple[list[_StoredRow], list[str]]:
    if without is None or not found:
        return found, []
    lacks = np.asarray(without(key_array(f.key for f in found)), bool)
    lost = [f.row.id for f, lacking in zip(found, lacks.tolist(), strict=True) if lacking]
    notes = (
        [f"{len(lost):,} proteins have no vector in one of the inputs and are left out ({some(lost)})"] if lost else []
    )
    return [f for f, lacking in zip(found, lacks.tolist(), strict=True) if not lacking], notes


def _require_sides(labelled: TaskLabels, found: Sequence[_StoredRow], view: View) -> None:
    """Raise InputError where nothing is left to train with or to test."""
    splits = {f.row.split for f in found}
    absent = [side for side in (TRAIN, TEST) if side not in splits] if splits != {""} else []
    if absent or not found:
        which = f"the {' and '.join(absent)} proteins" if absent else "the proteins"
        raise InputError(f"{labelled.source}: none of {which} is left in {view.location.uri} with a label and a vector"
                         f". {_embed(labelled, view)}")  # fmt: skip


def _embed(labelled: TaskLabels, view: View) -> str:
    """The command that brings the task's proteins into the store."""
    files = " ".join(labelled.fasta) or "FASTA"
    pooling = " --pooling mean,none" if labelled.kind == RESIDUE else ""
    return f"To add them: protea-ray embed {files} {view.location.uri}{pooling}, with the space's other options"
