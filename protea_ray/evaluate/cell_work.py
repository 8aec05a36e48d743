"""What the Ray tasks of an evaluation do: read the vectors of an input, train and measure one cell.

They run in workers, so what is imported here before a call is imported by the driver too: no torch.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from protea_ray.evaluate.cells import Group, cell_rows
from protea_ray.evaluate.inputs import Input
from protea_ray.evaluate.protocol import Protocol
from protea_ray.evaluate.task import Task

RESIDUE_PROBE = "linear"


def read_features(given: Input, task: Task, location_uri: str) -> np.ndarray:
    """(n, width): one vector for each protein of the task."""
    from protea_ray.evaluate.features import features

    return features(given, task, location_uri)


def protein_rows(
    features: np.ndarray, task: Task, given: Input, seeds: tuple[int, ...], protocol: Protocol, run: str
) -> pa.Table:
    """The rows of the cells of a task per protein."""
    from protea_ray.evaluate.metrics import measure
    from protea_ray.evaluate.probe import predictions

    group, tables = Group(task, given, seeds, protocol), list[pa.Table]()
    for seed in seeds:
        scores = predictions(task, features, seed, protocol)
        measured = {
            probe: measure(task, found, protocol.resamples, protocol.lengths) for probe, found in scores.items()
        }
        tables.append(cell_rows(group, seed, measured, run))
    return pa.concat_tables(tables)


def residue_rows(
    location_uri: str, task: Task, given: Input, seeds: tuple[int, ...], protocol: Protocol, run: str
) -> pa.Table:
    """The rows of the cells of a task per residue: all seeds share the passes over the stored matrices."""
    from protea_ray.evaluate.metrics import measure
    from protea_ray.evaluate.residue_probe import residue_counts

    group = Group(task, given, seeds, protocol)
    counted = residue_counts(task, given, location_uri, seeds, protocol)
    return pa.concat_tables(
        cell_rows(group, seed, {RESIDUE_PROBE: measure(task, counts, protocol.resamples, protocol.lengths)}, run)
        for seed, counts in counted
    )
