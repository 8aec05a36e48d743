"""Small tasks made of random numbers, for tests of what is measured on them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from protea_ray.evaluate.task import ALWAYS_TRAINS, CLASSIFICATION, MULTILABEL, REGRESSION, RESIDUE, Task

LENGTHS = (300, 1022, 1023, 2046, 2047)  # the ends of the subsets of length


def task_of(
    kind: str,
    targets: np.ndarray,
    names: tuple[str, ...] = (),
    *,
    fold: np.ndarray | None = None,
    related: np.ndarray | None = None,
    parents: Mapping[str, tuple[str, ...]] | None = None,
    lengths: tuple[int, ...] = LENGTHS,
) -> Task:
    """A task of `kind` with these targets, all of them tested in one fold unless `fold` says otherwise."""
    n = sum(1 for _ in targets) if fold is None else len(fold)
    return Task(
        name=f"made-{kind}",
        kind=kind,
        ids=tuple(f"P{i}" for i in range(n)),
        keys=tuple(i.to_bytes(16, "big") for i in range(n)),
        sequences=tuple("A" * lengths[i % len(lengths)] for i in range(n)),
        targets=targets,
        names=names,
        fold=np.zeros(n, np.int8) if fold is None else fold.astype(np.int8),
        group=np.arange(n),
        related=np.zeros(n, bool) if related is None else related,
        split="given",
        parents=parents or {},
    )


def classes(proteins: int = 60, seed: int = 0) -> tuple[Task, np.ndarray]:
    """A task of four classes, of which the last is rare, and scores that know something of them."""
    draw = np.random.default_rng(seed)
    truth = draw.choice(4, proteins, p=[0.5, 0.3, 0.17, 0.03])
    task = task_of(CLASSIFICATION, truth, tuple("abcd"), related=draw.random(proteins) < 0.3)
    return task, draw.random((proteins, 4)) + 0.5 * np.eye(4)[truth]


def numbers(proteins: int = 60, seed: int = 0) -> tuple[Task, np.ndarray]:
    """A task of numbers with ties, and predictions with ties."""
    draw = np.random.default_rng(seed)
    truth = np.round(draw.normal(5, 2, proteins))
    return task_of(REGRESSION, truth), np.round(truth + draw.normal(0, 3, proteins), 1)


def residues(chains: int = 40, seed: int = 0) -> tuple[Task, np.ndarray]:
    """A task of three states, and counts (chains, 3, 3) of which one chain has none."""
    draw = np.random.default_rng(seed)
    counts = draw.integers(0, 9, (chains, 3, 3)) + 12 * np.eye(3, dtype=np.int64)
    counts[7] = 0
    return task_of(RESIDUE, np.zeros(0, np.int8), tuple("HEC"), fold=np.zeros(chains)), counts


NAMES = tuple("abcdefgh")
PARENTS: dict[str, tuple[str, ...]] = {
    "root": (), "a": ("root",), "b": ("root",), "h": ("root",), "c": ("a", "b"), "d": ("a",), "e": ("b",), "f": ("c",),
    "g": ("d", "root"),
}  # fmt: skip
BELOW = {"c": "f", "d": "g", "a": "cdfg", "b": "cef"}  # from the leaves on


def terms(seed: int = 0) -> tuple[Task, np.ndarray]:
    """Eight terms under a root, three folds, and scores (67, 8) as a probe would give them.

    `h` can be learned in no fold and is all that two proteins have; `f` can in two of three. Four proteins have no
    prediction, and half of the scores lie on thresholds.
    """
    draw = np.random.default_rng(seed)
    fold = np.arange(90) % 4 - 1
    assert ALWAYS_TRAINS in fold
    truth = draw.random((90, 8)) < [0.3, 0.3, 0.2, 0.2, 0.2, 0, 0.18, 0]
    for number, count in ((ALWAYS_TRAINS, 4), (0, 2), (1, 2), (2, 4)):  # 12, of which 8 train fold 2
        truth[np.flatnonzero(fold == number)[10 : 10 + count], 5] = True
    truth = raised(truth)
    truth[~truth.any(axis=1), 1] = True
    truth[[5, 6]] = np.array(list("abcdefgh")) == "h"
    task = task_of(MULTILABEL, truth, NAMES, fold=fold, parents=PARENTS)
    return task, _scores(task, draw)


def _scores(task: Task, draw: np.random.Generator) -> np.ndarray:
    truth = task.targets[task.tested]
    raw = np.where(draw.random(truth.shape) < 0.5, draw.integers(0, 101, truth.shape) / 100, draw.random(truth.shape))
    scores = np.clip(raw * np.where(truth, 1.0, 0.6), 0, 1)
    scores[:4] = 0
    return raised(np.where(learnable(task), scores, 0))


def raised(rows: np.ndarray) -> np.ndarray:
    """(proteins, 8) truth or scores, each at least that of the terms below."""
    rows = rows.copy()
    for term, below in BELOW.items():
        rows[:, NAMES.index(term)] = rows[:, [NAMES.index(t) for t in term + below]].max(axis=1)
    return rows


def learnable(task: Task) -> np.ndarray:
    """(tested, terms) whether the term can be learned where the protein is tested."""
    return np.stack([task.learnable(int(task.fold[protein])) for protein in task.tested])
