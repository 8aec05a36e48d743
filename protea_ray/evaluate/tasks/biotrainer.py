"""Labels in FASTA, as biotrainer and FLIP have them.

One file whose headers hold `TARGET=... SET=train|val|test` (biotrainer's format since its version 1), or, of residues,
a FASTA of states whose headers hold `SET=train|test VALIDATION=True|False`, beside `sequences.fasta` and `mask.fasta`
(FLIP, Dallago et al. 2021, doi:10.1101/2021.11.09.467890). Each may be compressed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from protea_ray.evaluate.tasks.labelled import TEST, VALIDATION, FileRows, LabelRow, some, source_of, split_word
from protea_ray.sequences.formats import plain_name
from protea_ray.sequences.parts import Part
from protea_ray.sequences.records import RejectedError, normalise, text_of
from protea_ray.sequences.text import fasta_records

ENDINGS = (".fasta", ".fa", ".faa")
_ATTRIBUTE = re.compile(r"([A-Z_]+)=(\S+)")
_LEFT_OUT = "pred"  # biotrainer's word for proteins that have no target


class Entry(NamedTuple):
    """A record: `text` are letters, states or digits, white space removed."""

    line: int
    id: str
    attributes: dict[str, str]
    text: str


def is_fasta(path: Path) -> bool:
    """Whether a file's name, without .gz and the like, is that of a FASTA."""
    return plain_name(path.name).endswith(ENDINGS)


def fasta_rows(path: Path) -> FileRows:
    """Every record of a file of labels; wrong are those that cannot be read, have no place in the files beside, or an
    unknown split. Raises InputError for a file that cannot be read at all.
    """
    entries, unread = _entries(path)
    with_target = any("TARGET" in entry.attributes for entry in entries)
    entries, notes = _without_pred(entries)
    rows, problems = _targets_of_headers(path, entries) if with_target else _states_of_records(path, entries)
    rows, more = _with_splits(path, entries, rows)
    return FileRows(rows, [*unread, *problems, *more], notes, not with_target)


def beside(path: Path, stem: str) -> Path | None:
    """The FASTA `stem` in the folder of a file, compressed or not; None where there is none."""
    folder = path.parent
    found = sorted(p for p in folder.glob(f"{stem}.*") if is_fasta(p) and p != path)
    return found[0] if found else None


def _entries(path: Path) -> tuple[list[Entry], list[str]]:
    """Records in file order, and a sentence for each that cannot be read."""
    found, problems = list[Entry](), list[str]()
    for record in fasta_records(Part(source_of(path, "fasta"), 0, 0, 0, 1)):
        if record.problem:
            problems.append(f"{path}:{record.line}: {record.problem.detail}")
        elif not record.id:
            problems.append(f"{path}:{record.line}: no id")
        else:
            attributes = dict(_ATTRIBUTE.findall(text_of(record.description)))
            text = "".join(text_of(record.letters).split())
            found.append(Entry(record.line, text_of(record.id), attributes, text))
    return found, problems


def _without_pred(entries: list[Entry]) -> tuple[list[Entry], list[str]]:
    left = [e.id for e in entries if e.attributes.get("SET", "").lower() == _LEFT_OUT]
    notes = [f"{len(left):,} records with SET=pred have no target and are left out ({some(left)})"] if left else []
    return [e for e in entries if e.attributes.get("SET", "").lower() != _LEFT_OUT], notes


def _targets_of_headers(path: Path, entries: Iterable[Entry]) -> tuple[list[LabelRow], list[str]]:
    """Rows of TARGET=..., where the text is the protein; and what is wrong."""
    rows, problems = list[LabelRow](), list[str]()
    for entry in entries:
        where = f"{path}:{entry.line}: {entry.id!r}"
        if "INTERACTOR" in entry.attributes:
            problems.append(f"{where}: INTERACTOR: tasks of pairs of proteins are not evaluated here")
        letters, wrong = _letters(entry.text)
        problems += [f"{where}: {wrong}"] if wrong else []
        mask, target = entry.attributes.get("MASK", ""), entry.attributes.get("TARGET", "")
        rows.append(LabelRow(entry.id, target, "", entry.line, letters, mask))
    return rows, problems


def _states_of_records(path: Path, entries: Iterable[Entry]) -> tuple[list[LabelRow], list[str]]:
    """Rows of states, with letters and masks of the files beside; and what is wrong."""
    (letters, unread), (masks, more) = (_beside_by_id(path, stem) for stem in ("sequences", "mask"))
    rows, problems = list[LabelRow](), [*unread, *more]
    for entry in entries:
        row = LabelRow(entry.id, entry.text, "", entry.line)
        where = f"{path}:{entry.line}: {entry.id!r}"
        if letters is not None:
            found = letters.get(entry.id)
            clean, wrong = ("", "is not in the sequences beside it") if found is None else _letters(found.text)
            problems += [f"{where} {wrong}"] if wrong else []
            row = replace(row, letters=clean)
        if masks is not None:
            found = masks.get(entry.id)
            problems += [f"{where} is not in the mask beside it"] if found is None else []
            row = replace(row, mask="" if found is None else found.text)
        rows.append(row)
    return rows, problems


def _beside_by_id(path: Path, stem: str) -> tuple[Mapping[str, Entry] | None, list[str]]:
    """Records by id, None without such a file, and what is wrong with it."""
    found = beside(path, stem)
    if found is None:
        return None, []
    by_id: dict[str, Entry] = {}
    entries, problems = _entries(found)
    again = [entry for entry in entries if by_id.setdefault(entry.id, entry) is not entry]
    twice = [f"{found}:{e.line}: {e.id!r} stands in line {by_id[e.id].line} too; keep one" for e in again]
    return by_id, [*problems, *twice]


def _letters(text: str) -> tuple[str, str]:
    """Normalised letters, or what is wrong with them; a record without text has none."""
    if not text:
        return "", ""
    try:
        return normalise(text), ""
    except RejectedError as error:
        return "", error.detail


def _with_splits(path: Path, entries: list[Entry], rows: list[LabelRow]) -> tuple[list[LabelRow], list[str]]:
    """The rows with SET and VALIDATION as their split, where any record has one; and what is wrong."""
    if not any("SET" in entry.attributes for entry in entries):
        return rows, []
    found = [_split(entry.attributes) for entry in entries]
    problems = [f"{path}:{entry.line}: {entry.id!r}: {wrong}" for entry, (_, wrong) in zip(entries, found, strict=True)
                if wrong]  # fmt: skip
    return [replace(row, split=split) for row, (split, _) in zip(rows, found, strict=True)], problems


def _split(attributes: Mapping[str, str]) -> tuple[str, str]:
    split, wrong = split_word(attributes.get("SET", ""))
    kept = attributes.get("VALIDATION", "False").lower()
    if kept not in ("true", "false"):
        return "", f"VALIDATION={attributes['VALIDATION']} is neither True nor False"
    return (VALIDATION if kept == "true" and split != TEST else split), wrong


def fasta_files(path: Path) -> tuple[str, ...]:
    """The file with the proteins of a file of labels, for a message; none where there is none."""
    found = beside(path, "sequences")
    return (str(found),) if found else ()
