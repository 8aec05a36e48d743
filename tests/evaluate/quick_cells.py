"""Cells that cost nothing, in place of probes: what an engine does with them does not depend on what they hold."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from protea_ray.errors import InputError
from protea_ray.evaluate.cell_work import CellResults, WantedResults
from protea_ray.evaluate.cells import Group, cell_rows
from protea_ray.evaluate.inputs import Input
from protea_ray.evaluate.protocol import Protocol
from protea_ray.evaluate.task import CLASSIFICATION, RESIDUE, Task
from tests.store import build

QUICK = Protocol(resamples=3)
POISON = 77  # the seed of a cell whose process dies


@dataclass(frozen=True)
class Value:
    """What metrics measure, in the form of `measured.Measure`."""

    subset: str
    metric: str
    count: int
    value: float | None
    resampled: np.ndarray


def task(name: str = "made", kind: str = CLASSIFICATION, numbers: range = range(20)) -> Task:
    count = len(numbers)
    lengths = [len(build.sequence(n)) for n in numbers]
    targets = np.zeros(sum(lengths), np.int8) if kind == RESIDUE else np.arange(count) % 2
    order = sorted(numbers, key=build.key)
    return Task(
        name=name, kind=kind, ids=tuple(f"P{n:05d}" for n in order), keys=tuple(build.key(n) for n in order),
        sequences=tuple(build.sequence(n) for n in order), targets=targets, names=("a", "b"),
        fold=np.arange(count, dtype=np.int8) % 2, group=np.arange(count), related=np.zeros(count, bool), split="made",
    )  # fmt: skip


def read_features(given: Input, task: Task, location_uri: str) -> np.ndarray:
    return np.full((len(task), given.width or 20), len(given.name), np.float32)


def no_features(given: Input, task: Task, location_uri: str) -> np.ndarray:
    raise InputError(f"{given.name} has no vector of 3 proteins")


def protein_rows(
    features: np.ndarray, task: Task, given: Input, seeds: tuple[int, ...], protocol: Protocol, run: str
) -> pa.Table:
    """One value of two probes; a seed of POISON ends the process."""
    if POISON in seeds:
        os._exit(1)
    group = Group(task, given, seeds, protocol)
    return pa.concat_tables(
        cell_rows(group, seed, {probe: [value(float(features.sum()), seed, probe)] for probe in ("linear", "mlp")}, run)
        for seed in seeds
    )


def residue_rows(
    location_uri: str, task: Task, given: Input, seeds: tuple[int, ...], protocol: Protocol, run: str
) -> pa.Table:
    return protein_rows(np.ones((1, given.width or 40)), task, given, seeds, protocol, run)


def protein_cells(
    features: np.ndarray,
    task: Task,
    given: Input,
    seeds: tuple[int, ...],
    protocol: Protocol,
    run: str,
    wanted: WantedResults,
) -> CellResults:
    """The outcome of every tested protein is the seed."""
    rows = protein_rows(features, task, given, seeds, protocol, run)
    outcomes = np.tile(np.array(seeds, np.float64)[:, None], (1, len(task.tested)))
    return CellResults(rows if wanted.rows else None, outcomes if wanted.outcomes else None)


def residue_cells(
    location_uri: str,
    task: Task,
    given: Input,
    seeds: tuple[int, ...],
    protocol: Protocol,
    run: str,
    wanted: WantedResults,
) -> CellResults:
    return protein_cells(np.ones((1, given.width or 40)), task, given, seeds, protocol, run, wanted)


def dies_twice(
    features: np.ndarray,
    task: Task,
    given: Input,
    seeds: tuple[int, ...],
    protocol: Protocol,
    run: str,
    wanted: WantedResults,
) -> CellResults:
    """As `protein_cells`; the process dies the first two times, which files in the folder of the input's name count."""
    for attempt in ("first", "second"):
        mark = Path(given.name) / attempt
        if not mark.exists():
            mark.touch()
            os._exit(1)
    return protein_cells(features, task, given, seeds, protocol, run, wanted)


def value(total: float, seed: int, probe: str) -> Value:
    draws = np.random.default_rng([int(total), seed]).normal(size=QUICK.resamples).astype(np.float32)
    return Value("all", "macro_f1", 10, float(draws[0]) if probe == "linear" else None, draws)
