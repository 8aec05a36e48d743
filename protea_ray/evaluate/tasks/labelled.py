"""What a file of labels says before it is joined to a store: rows with their lines, all mistakes in one message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from protea_ray.errors import InputError, did_you_mean
from protea_ray.sequences.formats import compression_of
from protea_ray.sequences.parts import Source

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLIT_WORDS = {"train": TRAIN, "validation": VALIDATION, "valid": VALIDATION, "val": VALIDATION, "test": TEST}
MOST_SHOWN = 20  # mistakes of one file in a message
_FEW = 3  # examples in a note


@dataclass(frozen=True)
class LabelRow:
    """One row or record of a file: what stands there for one protein.

    `split` is empty where the file has none. `letters` are the normalised residues, where the file holds them. `mask`
    has a 1 for each residue that counts; empty: all do.
    """

    id: str
    target: str
    split: str
    line: int
    letters: str = field(default="", repr=False)
    mask: str = field(default="", repr=False)


@dataclass(frozen=True)
class FileRows:
    """What a reader found in a file: rows in file order, a sentence for each mistake, and notes.

    `of_states`: the labels are states of residues, in a file of their own beside the sequences.
    """

    rows: list[LabelRow]
    problems: list[str]
    notes: list[str] = field(default_factory=list)
    of_states: bool = False


@dataclass(frozen=True)
class TaskLabels:
    """A task's file, read and checked: one row an id, and the value of each.

    A value is a class (text), a number, a tuple of sorted terms, or a text with one state a residue and a blank where
    there is none. `parents` is the graph of the terms. `fasta` are files with the proteins, for a message that says how
    to embed them.
    """

    name: str
    kind: str
    source: str
    rows: tuple[LabelRow, ...] = field(repr=False)
    values: tuple[Any, ...] = field(repr=False)
    notes: tuple[str, ...] = ()
    parents: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    fasta: tuple[str, ...] = ()


def source_of(path: Path, format: str) -> Source:
    """A local file as the readers of sequences take it; raises InputError where it cannot be opened."""
    try:
        with path.open("rb") as file:
            compression = compression_of(file.read(16))
        return Source(str(path), format, compression, path.stat().st_size)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def split_word(word: str) -> tuple[str, str]:
    """The split that a word of a file means, and what is wrong with the word; one of the two is empty."""
    meant = SPLIT_WORDS.get(word.strip().lower(), "")
    if meant or not word.strip():
        return meant, "" if meant else "no split, where other rows have one; write train, validation or test"
    near = did_you_mean(word, SPLIT_WORDS)
    return "", f"the split {word!r} is none of train, validation and test{near}"


def raise_if(problems: Sequence[str]) -> None:
    """Raise one InputError with the first mistakes of a file and the number of the others."""
    if problems:
        more = len(problems) - MOST_SHOWN
        raise InputError([*problems[:MOST_SHOWN], *([f"and {more:,} more of these"] if more > 0 else [])])


def once(rows: Iterable[LabelRow], source: str) -> tuple[list[LabelRow], list[str], list[str]]:
    """The first row of each id, notes on ids that stand there again with the same label, and mistakes of the others."""
    first: dict[str, LabelRow] = {}
    again, problems = list[str](), list[str]()
    for row in rows:
        known = first.setdefault(row.id, row)
        if known is row:
            continue
        if (known.target, known.split, known.mask, known.letters) == (row.target, row.split, row.mask, row.letters):
            again.append(row.id)
        else:
            problems.append(f"{source}:{row.line}: {row.id!r} stands in line {known.line} with another label, split or "
                            "sequence; keep one of them")  # fmt: skip
    notes = [f"{len(again):,} rows repeat an id with the same label ({some(again)})"] if again else []
    return list(first.values()), notes, problems


def without_blanks(rows: Sequence[LabelRow]) -> tuple[list[LabelRow], list[str]]:
    """Rows that have a target, and a note on those that have none."""
    blank = [f"{row.id} in line {row.line}" for row in rows if not row.target]
    notes = [f"{len(blank):,} rows have no target and are left out ({some(blank)})"] if blank else []
    return [row for row in rows if row.target], notes


def side_problems(rows: Sequence[LabelRow], source: str) -> list[str]:
    """What is wrong with a file that has no rows, or a split without train or without test."""
    if not rows:
        return [f"{source} has no row with an id and a target"]
    found = {row.split for row in rows}
    absent = [side for side in (TRAIN, TEST) if side not in found] if found != {""} else []
    if not absent:
        return []
    there = ", ".join(sorted(found - {""}))
    return [f"{source}: no row of the split is {' or '.join(absent)}; it has {there}. Without any split, proteins are "
            "tested in five folds of relatives"]  # fmt: skip


def some(names: Sequence[str]) -> str:
    """The first few of some names, for a note.

    >>> some(["a", "b", "c", "d"])
    'a, b, c, ...'
    """
    return ", ".join([*names[:_FEW], *["..."] * (len(names) > _FEW)])
