"""What the table `evaluations` of a store holds, in short: how many results, how old, and which space is best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean
from typing import Any

from protea_ray.store.location import EVALUATIONS_TABLE, Location
from protea_ray.store.tables import find_table

# by the kind of a task, the metric that tables show
HEADLINE = {"classification": "macro_f1", "multilabel": "fmax", "regression": "spearman", "residue": "accuracy"}
EVALUATION_COLUMNS = ("task", "metric", "best", "probe", "value", "seeds", "of inputs")
_ALL = "all"  # the subset of every tested protein
_TASK = ("task", "task_digest", "protocol")
_READ = ("cell", "finished", "input", "control", *_TASK, "kind", "seed", "probe", "value")


@dataclass(frozen=True)
class BestInput:
    """The input, no control, whose `probe` reaches most on a task: `value` of `metric`, the mean over `seeds` seeds.

    `inputs` were compared, those of the newest evaluation of a task of this name.
    """

    task: str
    metric: str
    input: str
    probe: str
    value: float
    seeds: int
    inputs: int

    def cells(self) -> tuple[str, ...]:
        """Its row of text, under EVALUATION_COLUMNS."""
        return (self.task, self.metric, self.input, self.probe, f"{self.value:.3f}", str(self.seeds), str(self.inputs))


@dataclass(frozen=True)
class EvaluationStatus:
    """`cells` counts results of one input on one task with one seed, controls among them; `best` is by task."""

    cells: int
    latest: datetime
    best: tuple[BestInput, ...]


def read_evaluation_status(location: Location) -> EvaluationStatus | None:
    """Read one row of every probe of every cell; None where nothing was ever evaluated. Raises StoreError."""
    table = find_table(location.table(EVALUATIONS_TABLE))
    if table is None or not table.count_rows():
        return None
    shown = " OR ".join(f"(kind = '{kind}' AND metric = '{metric}')" for kind, metric in HEADLINE.items())
    rows = table.to_table(columns=list(_READ), filter=f"subset = '{_ALL}' AND ({shown})").to_pylist()
    if not rows:
        return None
    best = [found for of_task in _newest_of_each_task(rows) if (found := _best(of_task)) is not None]
    return EvaluationStatus(len({row["cell"] for row in rows}), max(row["finished"] for row in rows), tuple(best))


def _newest_of_each_task(rows: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """By name of the task, in order, the rows of the labels and the protocol that were evaluated last.

    Values of other labels or of another protocol are not comparable, so none of them is the best.
    """
    for name in sorted({row["task"] for row in rows}):
        own = [row for row in rows if row["task"] == name]
        last = max(own, key=lambda row: row["finished"])
        yield [row for row in own if all(row[fact] == last[fact] for fact in _TASK)]


def _best(rows: Sequence[dict[str, Any]]) -> BestInput | None:
    """None where controls alone were evaluated, or nothing is defined."""
    values: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if not row["control"] and row["value"] is not None:
            values.setdefault((row["input"], row["probe"]), []).append(row["value"])
    if not values:
        return None
    name, probe = max(values, key=lambda key: fmean(values[key]))
    of_seeds = values[name, probe]
    inputs = len({given for given, _ in values})
    return BestInput(rows[0]["task"], HEADLINE[rows[0]["kind"]], name, probe, fmean(of_seeds), len(of_seeds), inputs)
