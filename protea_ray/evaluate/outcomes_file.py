"""A file of outcomes: one row for each tested protein, a column for each task and input, means over the seeds.

It is a file of labels by id, as a report and `plot_map` take it to colour a map.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from protea_ray.config.paths import unwritable
from protea_ray.errors import StoreError
from protea_ray.evaluate.cells import Group
from protea_ray.query import lookup
from protea_ray.query.training.label_table import LABEL_ENDINGS
from protea_ray.query.view import View
from protea_ray.sequences.rows import DELIMITERS


def outcomes_problems(path: Path, tasks: Sequence[str], made: Path | None = None) -> list[str]:
    """In words, all that would keep a file of outcomes from being written to `path`, or should.

    `made` is a folder that will be there by then.
    """
    problems = []
    if path.suffix not in LABEL_ENDINGS:
        problems.append(f"outcomes: {path.name}: labels have one of the endings {', '.join(LABEL_ENDINGS)}")
    read = {Path(name).expanduser().resolve() for task in tasks for name in (task, task.rpartition(":")[0]) if name}
    if path.is_file() and path.resolve() in read:
        problems.append(f"outcomes: {path} holds the labels of a task; name another file")
    if made is not None and not made.exists() and path.parent.resolve() == made.resolve():
        return problems
    return [*problems, *(f"outcomes: {problem}" for problem in unwritable(path))]


@dataclass(frozen=True)
class Outcomes:
    """The outcomes of the cells of `groups`, as they come in."""

    groups: Sequence[Group]
    _taken: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    def take(self, group: Group, seeds: Sequence[int], values: np.ndarray) -> None:
        """Keep `values` (seeds, tested) of some cells."""
        self._taken.update({group.cell(seed): of_seed for seed, of_seed in zip(seeds, values, strict=True)})

    def table(self, view: View) -> tuple[pa.Table, int]:
        """Column id, then one for each group, by id; and how many tested proteins no id of the store means.

        Where a protein is not tested, or counts nowhere, the value is null.
        """
        named = {group.task.keys[at]: group.task.ids[at] for group in self.groups for at in group.task.tested.tolist()}
        ids = _ids(view, named)
        rows = {key: row for row, key in enumerate(sorted(ids, key=lambda key: ids[key]))}
        columns = {"id": pa.array([ids[key] for key in rows], pa.string())}
        for name, group in zip(column_names(self.groups), self.groups, strict=True):
            columns[name] = self._column(group, rows)
        return pa.table(columns), len(named) - len(ids)

    def _column(self, group: Group, rows: dict[bytes, int]) -> pa.Array:
        """(rows,) float64: means over the seeds of a group."""
        means = np.mean([self._taken[cell] for cell in group.cells()], axis=0)
        found = np.full(len(rows), np.nan)
        for at, value in zip(group.task.tested.tolist(), means, strict=True):
            if (row := rows.get(group.task.keys[at])) is not None:
                found[row] = value
        return pa.array(found, mask=np.isnan(found))


def column_names(groups: Sequence[Group]) -> list[str]:
    """Task and input of each group, `go-mf small-1a2b3c4d`; where two are called so, with what tells them apart."""
    names = [f"{group.task.name} {group.given.name}" for group in groups]
    often = Counter(names)
    return [
        name if often[name] == 1 else f"{name} ({group.task.digest[:8]}, {group.given.digest[:8]})"
        for name, group in zip(names, groups, strict=True)
    ]


def _ids(view: View, named: dict[bytes, str]) -> dict[bytes, str]:
    """The stored id of each key: the one that its labels `named` if it is stored, else the first.

    A label by id means the newest sequence of that id. So a key is left out whose ids all mean other sequences.
    """
    ids = view.records_by("key", list(named), ["id"])["id"].to_pylist()
    records = lookup.newest(view, view.records_by("id", ids, lookup.VERSION))
    pairs = [(id, key) for id, key in zip(*(records[name].to_pylist() for name in ("id", "key")), strict=True)
             if key in named]  # fmt: skip
    found: dict[bytes, str] = {}
    for id, key in sorted(pairs, key=lambda pair: pair[0] != named[pair[1]]):
        found.setdefault(key, id)
    return found


def write_outcomes(table: pa.Table, path: Path) -> None:
    """Write beside `path` and rename, so that an earlier file stays until this one is whole; raises StoreError."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        if path.suffix == ".parquet":
            pq.write_table(table, unfinished)
        else:
            _write_text(table, unfinished, DELIMITERS[path.suffix[1:]])
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise StoreError(f"{path} cannot be written: {error.strerror or error}. All results are in the store; the same "
                         "command writes the outcomes once the path takes them") from error  # fmt: skip


def _write_text(table: pa.Table, path: Path, delimiter: str) -> None:
    """Text in quotes only where it needs them, nothing for null, numbers in the fewest digits that read back."""
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        lines.writerow(table.column_names)
        lines.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))
