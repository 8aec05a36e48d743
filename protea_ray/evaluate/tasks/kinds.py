"""Which kind of task the targets of a file make, and the value of each target of that kind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from protea_ray.errors import ConfigError
from protea_ray.evaluate.task import CLASSIFICATION, MULTILABEL, REGRESSION, RESIDUE
from protea_ray.evaluate.tasks.labelled import LabelRow

GO = "go"  # multilabel, with a graph of the terms beside the file
KINDS = (CLASSIFICATION, MULTILABEL, REGRESSION, RESIDUE, GO)
NO_STATE = " "
_MANY_NUMBERS = 10  # distinct, with fractions: a measured quantity
_MOST_CLASSES = 20  # distinct whole numbers that are taken for classes
_MOST_STATES = 32  # of residues; 3Di has 20


def infer_kind(rows: Sequence[LabelRow], source: str) -> tuple[str, str]:
    """The kind that the targets make, and a note that says so; raises ConfigError where two kinds are as likely.

    States of residues are recognised by their length where the file holds the letters too.
    """
    targets = {row.target for row in rows}
    numbers = [_number(target) for target in targets]
    if all(row.letters and len(row.letters) == len(row.target) > 1 for row in rows):
        return _inferred(RESIDUE, "each is as long as its protein")
    if None not in numbers:
        return _of_numbers([number for number in numbers if number is not None], source)
    if 2 * (len(numbers) - numbers.count(None)) > len(numbers):
        odd = next(row for row in rows if _number(row.target) is None)
        what = f"most targets are numbers, but {odd.id!r} in line {odd.line} has {odd.target!r:.60}"
        raise _ambiguous(source, what, (REGRESSION, CLASSIFICATION))
    if any(";" in target for target in targets):
        if all(_number(part) is not None for target in targets for part in target.split(";")):
            raise _ambiguous(source, "the targets are numbers with `;` between them", (MULTILABEL,))
        return _inferred(MULTILABEL, "some hold `;`")
    if 2 * len(targets) > len(rows) > 2:
        what = f"the {len(rows):,} targets are {len(targets):,} different texts"
        raise _ambiguous(source, what, (CLASSIFICATION, MULTILABEL, RESIDUE))
    return _inferred(CLASSIFICATION, f"they are {len(targets):,} different texts")


def _of_numbers(numbers: Sequence[float], source: str) -> tuple[str, str]:
    """The kind of targets that are all numbers, given each distinct one."""
    fractions = any(not number.is_integer() for number in numbers)
    if fractions and len(numbers) >= _MANY_NUMBERS:
        return _inferred(REGRESSION, f"they are {len(numbers):,} different numbers, with fractions")
    if not fractions and len(numbers) <= _MOST_CLASSES:
        return _inferred(CLASSIFICATION, f"they are {len(numbers):,} different whole numbers")
    what = f"the targets are {len(numbers):,} different {'numbers' if fractions else 'whole numbers'}"
    raise _ambiguous(source, what, (REGRESSION, CLASSIFICATION))


def _inferred(kind: str, why: str) -> tuple[str, str]:
    return kind, f"The kind, {kind}, was inferred from the targets: {why}. PATH:KIND gives it"


def _ambiguous(source: str, what: str, kinds: Sequence[str]) -> ConfigError:
    """The error that asks for the kind."""
    asked = " or ".join(f"{source}:{kind}" for kind in kinds)
    return ConfigError(f"{source}: {what}, from which the kind of task does not follow; write {asked}", where="task")


def _number(text: str) -> float | None:
    """A finite number, or None for any other text."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def values_of(kind: str, rows: Sequence[LabelRow], source: str) -> tuple[tuple[Any, ...], list[str]]:
    """The value of each row, as TaskLabels has them, and a sentence for each row whose target is of another kind."""
    found = [_value(kind, row) for row in rows]
    problems = [f"{source}:{row.line}: {row.id!r}: {wrong}" for row, (_, wrong) in zip(rows, found, strict=True)
                if wrong]  # fmt: skip
    if kind == RESIDUE and not problems:
        states = {state for value, _ in found for state in value} - {NO_STATE}
        if len(states) > _MOST_STATES:
            listed = "".join(sorted(states))
            problems.append(f"{source}: {len(states)} different states of residues, {listed}; at most {_MOST_STATES} "
                            "are read")  # fmt: skip
    return tuple(value for value, _ in found), problems


def _value(kind: str, row: LabelRow) -> tuple[Any, str]:
    """The value, and what is wrong with the target."""
    match kind:
        case "regression":
            number = _number(row.target)
            return number, "" if number is not None else f"the target {row.target!r:.60} is not a finite number"
        case "multilabel" | "go":
            terms = tuple(sorted({term.strip() for term in row.target.split(";")} - {""}))
            return terms, "" if terms else f"the target {row.target!r:.60} names no term"
        case "residue":
            return _states(row)
        case _:
            return row.target, ""


def _states(row: LabelRow) -> tuple[str, str]:
    """States with a blank where the mask has a 0."""
    if row.letters and len(row.letters) != len(row.target):
        return "", f"{len(row.target):,} states of {len(row.letters):,} residues"
    if not row.mask:
        return row.target, ""
    if len(row.mask) != len(row.target):
        return "", f"{len(row.target):,} states, and {len(row.mask):,} digits in the mask"
    if odd := set(row.mask) - {"0", "1"}:
        return "", f"the mask holds {min(odd)!r}; it is made of 0 and 1"
    states = (state if kept == "1" else NO_STATE for state, kept in zip(row.target, row.mask, strict=True))
    return "".join(states), ""
