"""Tasks per residue over the made stores of tests.store.build, whose states the stored matrices tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from protea_ray.evaluate.inputs import Input
from protea_ray.evaluate.task import ALWAYS_TRAINS, RESIDUE, UNRESOLVED, Task
from protea_ray.store.location import Location
from protea_ray.store.tables import open_table
from tests.store import build

STATES = ("H", "E", "C")


@cache
def states(number: int) -> np.ndarray:
    """The largest of three fixed sums over a residue's row; every seventh residue of a chain was not resolved."""
    sums = build.residues(number) @ np.random.default_rng(7).normal(size=(build.WIDTH, len(STATES)))
    found = sums.argmax(axis=1).astype(np.int8)
    found[6::7] = UNRESOLVED
    return found


def chain_task(numbers: Sequence[int] = range(60), folds: int = 1) -> Task:
    """Every third chain is tested, every third of the others is for validation; with several folds, all are tested."""
    ordered = sorted(numbers, key=build.key)
    at = np.arange(len(ordered))
    fold = np.where(at % 3 == 0, 0, ALWAYS_TRAINS) if folds == 1 else at % folds
    return Task(
        name="chains",
        kind=RESIDUE,
        ids=tuple(f"P{n:05d}" for n in ordered),
        keys=tuple(map(build.key, ordered)),
        sequences=tuple(map(build.sequence, ordered)),
        targets=np.concatenate([states(n) for n in ordered]),
        names=STATES,
        fold=fold.astype(np.int8),
        group=at,
        related=np.zeros(len(ordered), bool),
        split="given",
        validation=(at % 9 == 1) if folds == 1 else None,
    )


def subject(location: Location, space: str = "esm2-00000001") -> Input:
    """The space as it stands now."""
    versions = [int(open_table(location.table(name)).version) for name in (space, "proteins")]
    return Input(space, build.WIDTH, space=space, version=versions[0], proteins=versions[1])


def control(name: str, width: int = build.WIDTH) -> Input:
    return replace(Input(name, width), control=name)
