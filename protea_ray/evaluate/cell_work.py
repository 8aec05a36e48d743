"""What the Ray tasks of an evaluation do: read the vectors of an input, train and measure one cell.

They run in workers, so what is imported here before a call is imported by the driver too: no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from protea_ray.evaluate.cells import Group, cell_rows
from protea_ray.evaluate.inputs import Input
from protea_ray.evaluate.protocol import Protocol
from protea_ray.evaluate.task import Task

LINEAR_PROBE = "linear"  # the only one of residues, and whose outcomes are taken


@dataclass(frozen=True)
class WantedResults:
    """What is to be made of cells: `rows` for the store, `outcomes` by protein. Outcomes alone need no other probe than
    the linear one, and no metric."""

    rows: bool = True
    outcomes: bool = False


@dataclass(frozen=True)
class CellResults:
    """`rows` of schema EVALUATIONS and `outcomes` (seeds, tested) float64; None of what was not wanted."""

    rows: pa.Table | None
    outcomes: np.ndarray | None


def read_features(given: Input, task: Task, location_uri: str) -> np.ndarray:
    """(n, width): one vector for each protein of the task."""
    from protea_ray.evaluate.features import features

    return features(given, task, location_uri)


def protein_cells(
    features: np.ndarray,
    task: Task,
    given: Input,
    seeds: tuple[int, ...],
    protocol: Protocol,
    run: str,
    wanted: WantedResults,
) -> CellResults:
    """The cells of a task per protein."""
    from protea_ray.evaluate.probe import PROBES, predictions

    probes = PROBES if wanted.rows else (LINEAR_PROBE,)
    scored = ((seed, predictions(task, features, seed, protocol, probes)) for seed in seeds)
    return _results(Group(task, given, seeds, protocol), scored, run, wanted)


def residue_cells(
    location_uri: str,
    task: Task,
    given: Input,
    seeds: tuple[int, ...],
    protocol: Protocol,
    run: str,
    wanted: WantedResults,
) -> CellResults:
    """The cells of a task per residue: all seeds share the passes over the stored matrices."""
    from protea_ray.evaluate.residue_probe import residue_counts

    counted = residue_counts(task, given, location_uri, seeds, protocol)
    scored = ((seed, {LINEAR_PROBE: counts}) for seed, counts in counted)
    return _results(Group(task, given, seeds, protocol), scored, run, wanted)


def _results(
    group: Group, scored: Iterable[tuple[int, Mapping[str, np.ndarray]]], run: str, wanted: WantedResults
) -> CellResults:
    """What is wanted of the scores of each seed by probe."""
    from protea_ray.evaluate.outcomes import outcomes_of

    tables, outcomes = list[pa.Table](), list[np.ndarray]()
    for seed, scores in scored:
        if wanted.rows:
            tables.append(_rows(group, seed, scores, run))
        if wanted.outcomes:
            outcomes.append(outcomes_of(group.task, scores[LINEAR_PROBE]))
    return CellResults(pa.concat_tables(tables) if tables else None, np.stack(outcomes) if outcomes else None)


def _rows(group: Group, seed: int, scores: Mapping[str, np.ndarray], run: str) -> pa.Table:
    from protea_ray.evaluate.metrics import measure

    task, how = group.task, group.protocol
    measured = {probe: measure(task, found, how.resamples, how.lengths) for probe, found in scores.items()}
    return cell_rows(group, seed, measured, run)
