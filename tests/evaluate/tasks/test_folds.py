"""Splits: relatives stay in one fold, folds are even, and nothing but the content decides."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest

from protea_ray.errors import InputError
from protea_ray.evaluate.task import ALWAYS_TRAINS
from protea_ray.evaluate.tasks.folds import FOLDS, folds_of_groups, make_split, related_across

LETTERS = np.array(list("ACDEFGHIKLMNPQRSTVWY"))


def families(sizes: list[int], seed: int = 0) -> tuple[list[str], list[int]]:
    """Sequences of 80 residues, members of a family differ in three; and the family of each, in a drawn order."""
    draw = np.random.default_rng(seed)
    found = []
    for family, size in enumerate(sizes):
        ancestor = draw.choice(LETTERS, 80)
        for _ in range(size):
            own = ancestor.copy()
            own[draw.integers(0, 80, 3)] = draw.choice(LETTERS, 3)
            found.append(("".join(own), family))
    order = draw.permutation(len(found))
    return [found[i][0] for i in order], [found[i][1] for i in order]


def shared_words(a: str, b: str) -> int:
    return len({a[i : i + 6] for i in range(len(a) - 5)} & {b[i : i + 6] for i in range(len(b) - 5)})


def reached(sequences: list[str]) -> list[int]:
    """Groups by a walk over all pairs, as the definition says."""
    near = [[j for j in range(len(sequences)) if shared_words(a, sequences[j]) >= 5] for a in sequences]
    group = [-1] * len(sequences)
    for start in range(len(sequences)):
        waiting = deque([start] if group[start] < 0 else [])
        while waiting:
            at = waiting.popleft()
            if group[at] < 0:
                group[at] = start
                waiting.extend(near[at])
    return group


def test_relatives_are_in_one_fold_and_folds_are_even() -> None:
    sequences, family = families([7, 5, 5, 3, 3, 2, *[1] * 15])
    split = make_split(sequences, [""] * len(sequences), "t.csv")
    assert split.text == "5 folds of relatives"
    groups = reached(sequences)
    assert (
        len(set(zip(groups, split.group.tolist(), strict=True))) == len(set(groups)) == len(set(split.group.tolist()))
    )
    assert len(set(groups)) == len(set(family))
    for group in set(groups):
        assert len({fold for fold, own in zip(split.fold.tolist(), groups, strict=True) if own == group}) == 1
    sizes = np.bincount(split.fold)
    assert len(sizes) == FOLDS
    assert sizes.max() - sizes.min() <= 1
    assert not split.related.any()
    assert split.validation is None


def test_a_group_larger_than_a_fold_stays_whole() -> None:
    group = np.array([0] * 20 + list(range(1, 9)))
    fold = folds_of_groups(group, "t.csv")
    assert np.bincount(fold).tolist() == [20, 2, 2, 2, 2]
    assert set(fold[:20]) == {0}


def test_few_groups_make_few_folds_and_one_makes_none() -> None:
    assert folds_of_groups(np.array([0, 1, 0]), "t.csv").tolist() == [0, 1, 0]
    sequences, _ = families([4, 4, 4])
    assert make_split(sequences, [""] * 12, "t.csv").text == "3 folds of relatives"
    with pytest.raises(InputError, match=r"t\.csv: all 3 proteins are relatives"):
        folds_of_groups(np.array([0, 0, 0]), "t.csv")


def test_a_given_split_is_kept_and_tested_proteins_with_relatives_in_training_are_marked() -> None:
    """The first three are relatives: one trains, one is kept for validation, one is tested. So are the last two, both
    tested."""
    sequences, family = families([3, 1, 1, 2])
    order = np.argsort(family, kind="stable")
    words = ["train", "validation", "test", "train", "test", "test", "test"]
    split = make_split([sequences[i] for i in order], words, "t.csv")
    assert split.text == "given"
    assert split.fold.tolist() == [ALWAYS_TRAINS, ALWAYS_TRAINS, 0, ALWAYS_TRAINS, 0, 0, 0]
    assert split.related.tolist() == [False, False, True, False, False, False, False]
    assert split.group.tolist() == [0, 0, 0, 1, 2, 3, 3]
    assert split.validation is not None
    assert split.validation.tolist() == [False, True, False, False, False, False, False]


def test_related_across_folds() -> None:
    fold = np.array([0, 1, 1, ALWAYS_TRAINS])
    assert related_across(fold, np.array([[0, 1], [1, 2]])).tolist() == [True, True, False, False]
    assert related_across(fold, np.array([[2, 3]])).tolist() == [False, False, True, False]
    assert related_across(fold, np.zeros((0, 2), np.int64)).tolist() == [False] * 4
