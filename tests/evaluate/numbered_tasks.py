"""Tasks made of the numbered proteins of tests.store.build, with whatever targets and split a test wants."""

from __future__ import annotations

from typing import Any

import numpy as np

from protea_ray.evaluate.task import Task
from tests.store import build


def made_task(kind: str, targets: np.ndarray, fold: np.ndarray, names: tuple[str, ...] = (), **fields: Any) -> Task:
    """A task of proteins 0 to n - 1, each a group of its own unless `fields` say otherwise."""
    count = len(targets)
    given = {"group": np.arange(count), "related": np.zeros(count, bool), "split": "made", **fields}
    return Task(
        name="made",
        kind=kind,
        ids=tuple(f"P{n:05d}" for n in range(count)),
        keys=tuple(build.key(n) for n in range(count)),
        sequences=tuple(build.sequence(n) for n in range(count)),
        targets=targets,
        names=names,
        fold=fold.astype(np.int8),
        **given,
    )


def halves(count: int) -> np.ndarray:
    """(n,) folds of a given split: odd proteins are tested, even ones always train."""
    return np.arange(count) % 2 - 1


def classes(count: int, width: int, signal: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three classes (n,) and features (n, width) float32: noise, and `signal` along one axis for each class."""
    draw = np.random.default_rng(seed)
    targets = draw.integers(0, 3, count)
    features = draw.normal(size=(count, width))
    features[:, :3] += signal * np.eye(3)[targets]
    return targets, features.astype(np.float32)
