"""Rows of evaluations with values that a test chooses, and draws around them that several inputs share."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from protea_ray.store.evaluations import EVALUATIONS

DRAWS = np.linspace(-0.1, 0.1, 201)  # what the drawn proteins do to every input alike: an interval of -0.095 to 0.095


def evaluated(space: str, values: Sequence[float | None], own: float = 0.0, **columns: Any) -> list[dict[str, Any]]:
    """One row a seed; the draws are the value, DRAWS, and noise of the input's own from -`own` to `own`.

    The own noise rises and falls ten times over the draws, so that it is no part of what is shared.
    """
    noise = own * np.sin(np.linspace(0, 20 * np.pi, len(DRAWS)))
    fixed = {
        "cell": "c", "run": "r", "finished": datetime.now(UTC), "input": space, "input_digest": space, "control": "",
        "space": space, "version": 1, "proteins_version": 1, "pooling": "mean", "width": 8, "model": "m",
        "trained": True, "recipe": "{}", "task": "loc", "task_digest": "t", "kind": "classification", "split": "given",
        "train": 10, "protocol": "p", "probe": "linear", "subset": "all", "count": 40, "metric": "macro_f1",
    }  # fmt: skip
    return [
        {**fixed, "seed": seed, "value": value, "resampled": (value or np.nan) + DRAWS + noise, **columns}
        for seed, value in enumerate(values)
    ]


def table(*inputs: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([row for rows in inputs for row in rows], EVALUATIONS)
