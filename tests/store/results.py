"""Results of evaluations, made up: as many rows as are wanted, each of its own cell, probe, subset or metric."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from protea_ray.store.evaluations import EVALUATIONS

FINISHED = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
METRICS = ("macro_f1", "accuracy", "mcc")


def rows(cell: str, space: str = "esm2-00000001", **changes: object) -> pa.Table:
    """The rows of one cell: two probes, two subsets and three metrics; one value is not defined, as are some draws."""
    return pa.Table.from_pylist([row | changes for row in _rows(cell, space)], EVALUATIONS)


def _rows(cell: str, space: str) -> Iterator[dict[str, object]]:
    random = np.random.default_rng(len(cell) + sum(map(ord, cell)))
    for probe in ("linear", "mlp"):
        for subset in ("all", "without_relatives"):
            for metric in METRICS:
                undefined = (probe, subset, metric) == ("mlp", "all", "mcc")
                drawn = random.random(20).astype(np.float32)
                drawn[:2] = np.nan
                yield {
                    "cell": cell, "run": "r1", "finished": FINISHED, "input": space, "input_digest": "1" * 16,
                    "control": "", "space": space, "version": 3, "proteins_version": 2, "pooling": "mean", "width": 8,
                    "model": "m", "trained": True, "recipe": "{}", "task": "localization", "task_digest": "2" * 16,
                    "kind": "classification", "split": "given", "train": 10, "protocol": "3" * 8, "seed": 0,
                    "probe": probe, "subset": subset, "count": 5, "metric": metric,
                    "value": None if undefined else float(random.random()), "resampled": drawn.tolist(),
                }  # fmt: skip
