"""Cells: the unit of work, of resuming and of commits. One task, one input, one protocol, one seed.

What a cell is called follows from these four and from nothing else, so results are found again by whoever asks for the
same, whichever version of the space or name of the input that may be.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from protea_ray.config.identity import canonical_json
from protea_ray.evaluate.inputs import Input
from protea_ray.evaluate.protocol import Protocol
from protea_ray.evaluate.task import Task
from protea_ray.store.evaluations import EVALUATIONS

if TYPE_CHECKING:
    from protea_ray.evaluate.measured import Measure


@dataclass(frozen=True)
class Group:
    """The cells of one task and one input, by seed: they share what is read from the store."""

    task: Task
    given: Input
    seeds: tuple[int, ...]
    protocol: Protocol

    def cell(self, seed: int) -> str:
        """32 hexadecimal digits that name one cell."""
        facts = [self.task.digest, self.given.digest, self.protocol.digest, seed]
        return hashlib.sha256(canonical_json(facts).encode()).hexdigest()[:32]

    def cells(self) -> list[str]:
        """The names of all cells."""
        return [self.cell(seed) for seed in self.seeds]

    def without(self, present: Collection[str]) -> Group:
        """The same with the seeds whose cells are not among `present`."""
        return replace(self, seeds=tuple(seed for seed in self.seeds if self.cell(seed) not in present))

    def within(self, present: Collection[str]) -> Group:
        """The same with the seeds whose cells are among `present`."""
        return replace(self, seeds=tuple(seed for seed in self.seeds if self.cell(seed) in present))

    def __str__(self) -> str:
        return f"{self.task.name} from {self.given.name}"


def train_count(task: Task) -> int:
    """Proteins that a probe may train on; of several folds, the mean."""
    return round(float(np.mean([np.sum(task.fold != fold) for fold in task.folds])))


def cell_rows(group: Group, seed: int, measured: Mapping[str, Sequence[Measure]], run: str) -> pa.Table:
    """The rows of one cell, of schema EVALUATIONS; `measured` has the values of each probe by its name."""
    fixed = _facts(group) | {
        "cell": group.cell(seed), "run": run, "finished": datetime.now(UTC), "seed": seed,
    }  # fmt: skip
    return pa.Table.from_pylist([fixed | row for row in _rows(measured)], EVALUATIONS)


def _rows(measured: Mapping[str, Sequence[Measure]]) -> Iterator[dict[str, Any]]:
    for probe, values in measured.items():
        for one in values:
            yield {"probe": probe, "subset": one.subset, "metric": one.metric, "count": one.count, "value": one.value,
                   "resampled": np.asarray(one.resampled, np.float32)}  # fmt: skip


def _facts(group: Group) -> dict[str, Any]:
    """What all rows of a group say."""
    task = group.task
    return {
        "task": task.name,
        "task_digest": task.digest,
        "kind": task.kind,
        "split": task.split,
        "train": train_count(task),
        "protocol": group.protocol.digest,
        **input_facts(group.given),
    }


def input_facts(given: Input) -> dict[str, Any]:
    """What a row says of its input."""
    return {
        "input": given.name,
        "input_digest": given.digest,
        "control": given.control,
        "space": given.space,
        "version": given.version,
        "proteins_version": given.proteins,
        "pooling": given.pooling,
        "width": given.width,
        "model": given.model,
        "trained": given.trained,
        "recipe": json.dumps(given.recipe or {}, sort_keys=True),
    }


def asked_rows(found: pa.Table, groups: Sequence[Group]) -> pa.Table:
    """Rows from the store in the order of `groups`, seeds, and of each cell as it was measured.

    They say what the input is called now and whether it is a control here: the cell may have been computed under
    another name of the input or of the task.
    """
    order = {cell: number for number, cell in enumerate(cell for group in groups for cell in group.cells())}
    place = np.array([order[cell] for cell in found["cell"].to_pylist()], np.int64)
    rows = found.take(pa.array(np.argsort(place, kind="stable")))
    named = {cell: group for group in groups for cell in group.cells()}
    owners = [named[cell] for cell in rows["cell"].to_pylist()]
    for column, values in {
        "input": [owner.given.name for owner in owners],
        "control": [owner.given.control for owner in owners],
        "task": [owner.task.name for owner in owners],
    }.items():
        at = rows.schema.get_field_index(column)
        rows = rows.set_column(at, EVALUATIONS.field(column), pa.array(values, pa.string()))
    return rows
