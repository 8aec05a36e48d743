"""Targets as arrays, and whether anything can be learned from them under a split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from protea_ray.errors import InputError
from protea_ray.evaluate.task import CLASSIFICATION, FEWEST_PROTEINS, MULTILABEL, REGRESSION, RESIDUE, UNRESOLVED, Task
from protea_ray.evaluate.tasks.kinds import NO_STATE
from protea_ray.evaluate.tasks.labelled import some


def encoded(kind: str, values: Sequence[Any]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Targets as Task has them, and the names of classes, terms or states, sorted; numbers have none."""
    if kind == REGRESSION:
        return np.array(values, np.float64), ()
    if kind == CLASSIFICATION:
        names, numbers = np.unique(np.array(values, str), return_inverse=True)
        return numbers.astype(np.int64), tuple(names.tolist())
    names = tuple(sorted({each for value in values for each in value} - {NO_STATE}))
    return (_terms if kind == MULTILABEL else _states)(values, names), names


def _terms(values: Sequence[tuple[str, ...]], names: Sequence[str]) -> np.ndarray:
    number = {name: i for i, name in enumerate(names)}
    hot = np.zeros((len(values), len(names)), bool)
    for row, terms in enumerate(values):
        hot[row, [number[term] for term in terms]] = True
    return hot


def _states(values: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """(sum of lengths,) int8; states are characters of any alphabet."""
    letters = np.array(["".join(values)]).view(np.uint32) if any(values) else np.zeros(0, np.uint32)
    found = np.full(len(letters), UNRESOLVED, np.int8)
    for number, name in enumerate(names):
        found[letters == ord(name)] = number
    return found


def require_learnable(task: Task, source: str) -> tuple[str, ...]:
    """Notes on what cannot be learned; raises InputError where a fold's training proteins teach nothing."""
    return tuple(dict.fromkeys(note for fold in task.folds for note in _of_fold(task, fold, source)))


def _of_fold(task: Task, fold: int, source: str) -> list[str]:
    trains = task.fold != fold
    if task.kind == MULTILABEL:
        if not task.learnable(fold).any():
            raise InputError(f"{source}: no term has {FEWEST_PROTEINS} training proteins, so none can be learned; "
                             f"{int(trains.sum()):,} proteins train")  # fmt: skip
        return []
    of_residues = task.kind == RESIDUE
    owner = np.repeat(np.arange(len(task)), task.lengths if of_residues else 1)
    taught = np.unique(task.targets[trains[owner] & ~(of_residues & (task.targets == UNRESOLVED))])
    if len(taught) < 2:
        only = task.names[int(taught[0])] if task.names and len(taught) else "the same number"
        raise InputError(f"{source}: all {int(trains.sum()):,} training proteins have one target, {only!r}, so there "
                         "is nothing to learn; give other labels or another split")  # fmt: skip
    if not task.names:
        return []
    unseen = [name for number, name in enumerate(task.names) if number not in taught]
    return [f"{some(unseen)} occurs among tested proteins alone and cannot be predicted"] if unseen else []
