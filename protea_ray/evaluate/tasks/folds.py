"""Which protein is tested by a probe that was trained on which others: the file's split, or folds of relatives.

A split is honest when no tested protein has a close relative in training. Relatives are proteins that share five
six-letter words (`sequences.words`), and groups are the connected components. Remote homologs are not seen by this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from protea_ray.errors import InputError
from protea_ray.evaluate.task import ALWAYS_TRAINS
from protea_ray.evaluate.tasks.labelled import TEST, VALIDATION
from protea_ray.sequences.words import relatives
from protea_ray.train.clusters import clusters_of

FOLDS = 5


@dataclass(frozen=True)
class Split:
    """`fold`, `group`, `related`, `validation` as Task has them, each (n,), and `text`, which says what it is."""

    fold: np.ndarray
    group: np.ndarray
    related: np.ndarray
    validation: np.ndarray | None
    text: str


def make_split(sequences: Sequence[str], words: Sequence[str], source: str) -> Split:
    """The split of n proteins in the order of their keys; `words` are train, validation or test, or empty throughout.

    It follows from the letters and the words alone. Raises InputError where there are no words and all proteins are
    relatives.
    """
    pairs = relatives(sequences)
    group = clusters_of(len(sequences), pairs)
    given = any(words)
    fold = _given(words) if given else folds_of_groups(group, source)
    kept = np.array([word == VALIDATION for word in words])
    text = "given" if given else f"{int(fold.max()) + 1} folds of relatives"
    return Split(fold, group, related_across(fold, pairs), kept if kept.any() else None, text)


def _given(words: Sequence[str]) -> np.ndarray:
    return np.where(np.array(words) == TEST, 0, ALWAYS_TRAINS).astype(np.int8)


def folds_of_groups(group: np.ndarray, source: str) -> np.ndarray:
    """(n,) int8: up to five folds of about equal numbers of proteins. Whole groups, the largest first, each go to the
    smallest fold; of equal size, to the first.

    Raises InputError where there is a single group.
    """
    size = np.bincount(group)
    if len(size) < 2:
        raise InputError(f"{source}: all {len(group):,} proteins are relatives of one another, so that none can "
                         "be tested by a probe that was trained without its relatives; give a split")  # fmt: skip
    held = np.zeros(min(FOLDS, len(size)), np.int64)
    fold = np.zeros(len(size), np.int8)
    for number in np.argsort(-size, kind="stable").tolist():
        fold[number] = np.argmin(held)
        held[fold[number]] += size[number]
    return fold[group]


def related_across(fold: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """(n,) bool: tested proteins with a relative in another fold, or among those that always train."""
    found = np.zeros(len(fold), bool)
    found[pairs[fold[pairs[:, 0]] != fold[pairs[:, 1]]].ravel()] = True
    return found & (fold != ALWAYS_TRAINS)
