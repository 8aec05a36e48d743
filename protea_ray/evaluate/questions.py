"""Tasks as arrays for a comparison: DeepLoc's compartments, GO terms and secondary structure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from protea_ray.errors import InputError
from protea_ray.evaluate.comparison import Question
from protea_ray.evaluate.secondary_structure import STATES, Chains
from protea_ray.evaluate.tasks import Task, gene_ontology, localization


def of_task(name: str, folder: Path, letters: Mapping[str, str]) -> Question:
    """`localization` or `go-` and an aspect, over the proteins in `letters`, in whose order the inputs are.

    Raises InputError when a protein of the task has no letters, ConfigError for an aspect without its ontology.
    """
    local = name == "localization"
    return _question(
        localization(folder) if local else gene_ontology(folder, name.removeprefix("go-"), letters), letters
    )


def _question(task: Task, letters: Mapping[str, str]) -> Question:
    number = {id: row for row, id in enumerate(letters)}
    if unknown := [id for id in task.ids if id not in number]:
        raise InputError(f"{task.name}: {len(unknown):,} proteins have labels and no letters, for example {unknown[0]}")
    rows, test = np.array([number[id] for id in task.ids]), np.array([side == "test" for side in task.split])
    encoded = task.encoded()
    targets = np.zeros((len(number), *encoded.shape[1:]), encoded.dtype)
    targets[rows] = encoded
    return Question(
        task.name, task.kind, targets, rows[~test], rows[test], max(1, len(task.names)), ancestors=task.ancestors
    )


def of_chains(chains: Chains) -> Question:
    """Helix, strand or coil of each residue: logistic regression in batches of 64 residues; the metric is Q3.

    Ten epochs at 1e-3, as the field's benchmarks do; one residue is one example.
    """
    return Question(
        "secondary-structure", "classification", np.maximum(chains.state, 0), chains.rows(train=True),
        chains.rows(train=False), len(STATES), epochs=10, learning_rate=1e-3, hidden=0, headline="accuracy",
    )  # fmt: skip
