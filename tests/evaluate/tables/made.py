"""Rows of the schema EVALUATIONS as an evaluation would leave them, with chosen values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from protea_ray.store.evaluations import EVALUATIONS

RESAMPLES = 200
RECIPE = {"layers": [0], "pooling": ["mean"], "normalize": True, "layer_agg": "mean"}


@dataclass(frozen=True)
class Given:
    """An input of generated rows."""

    name: str
    control: str = ""
    width: int = 320
    space: str = ""
    version: int = 3
    pooling: str = "mean"
    model: str = "small"
    recipe: dict[str, Any] | None = field(default=None, hash=False)

    @property
    def digest(self) -> str:
        """As long as a real one."""
        return hashlib.sha256(f"{self.name} {self.space}".encode()).hexdigest()[:16]

    def columns(self) -> dict[str, Any]:
        """Its columns of a row."""
        no_space = self.control in ("random", "composition")
        return {
            "input": self.name,
            "input_digest": self.digest,
            "control": self.control,
            "space": "" if no_space else self.space or self.name,
            "version": 0 if no_space else self.version,
            "proteins_version": 0 if no_space else 2,
            "pooling": "" if no_space else self.pooling,
            "width": self.width,
            "model": "" if no_space else self.model,
            "trained": self.control != "untrained",
            "recipe": "{}" if no_space else json.dumps(RECIPE if self.recipe is None else self.recipe),
        }


SMALL = Given("small-1a2b3c4d")
RANDOM = Given("random 320", "random")
COMPOSITION = Given("composition", "composition", width=0)
UNTRAINED = Given("untrained-small-9f8e7d6c", "untrained", model="untrained:small")
CONTROLS = (UNTRAINED, COMPOSITION, RANDOM)


def second_layer(of: Given = SMALL) -> Given:
    """The same model's layer before the last."""
    return replace(of, name="small-5e6f7a8b", recipe={**RECIPE, "layers": [1]})


def noise(task: str, subset: str) -> np.ndarray:
    """(RESAMPLES,) what the draw of proteins adds to every input of a task: shared, as in an evaluation."""
    seed = hashlib.sha256(f"{task} {subset}".encode()).digest()
    return np.random.default_rng(np.frombuffer(seed, np.uint32)).normal(0, 0.02, RESAMPLES)


def own_noise(of: str, size: float = 0.002) -> np.ndarray:
    """(RESAMPLES,) what it adds to one input alone."""
    seed = hashlib.sha256(of.encode()).digest()
    return np.random.default_rng(np.frombuffer(seed, np.uint32)).normal(0, size, RESAMPLES)


def rows(
    task: str,
    kind: str,
    values: dict[Given, dict[str, float | None]],
    *,
    seeds: Sequence[int] = range(5),
    probes: Sequence[str] = ("linear", "mlp"),
    counts: dict[str, int] | None = None,
    shift: Callable[[str, str, int], float] = lambda probe, subset, seed: 0.001 * (seed - 2),
    **columns: Any,
) -> pa.Table:
    """Rows of each input's metrics (`values`) for each seed, probe and subset; `shift` is added to a value."""
    counts = {"all": 1000, "without_relatives": 600} if counts is None else counts
    made = [
        {
            "cell": hashlib.sha256(f"{task} {given.digest} {seed}".encode()).hexdigest()[:16],
            "run": "20261127-010000-abcdef",
            "finished": datetime(2026, 11, 27, 1, seed, tzinfo=UTC),
            **given.columns(),
            "task": task,
            "task_digest": hashlib.sha256(task.encode()).hexdigest()[:16],
            "kind": kind,
            "split": "given",
            "train": 1500,
            "protocol": "0a1b2c3d",
            "seed": seed,
            "probe": probe,
            "subset": subset,
            "count": count,
            "metric": metric,
            "value": None if value is None else value + shift(probe, subset, seed),
            "resampled": []
            if value is None
            else (value + shift(probe, subset, seed) + noise(task, subset) + own_noise(given.name)).astype(np.float32),
            **columns,
        }
        for given, metrics in values.items()
        for seed in seeds
        for probe in probes
        for subset, count in counts.items()
        for metric, value in metrics.items()
    ]
    return pa.Table.from_pylist(made, EVALUATIONS)
