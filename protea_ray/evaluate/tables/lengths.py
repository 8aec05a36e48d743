"""The headline metric by the length of the tested proteins, beside a baseline: Fmax x aspect x length x inputs.

The usual ranges are those of long-protein studies of ESM-2 (arXiv:2501.07747): what its training crops hold, up to
twice of it, and above. Differences are paired: every input of a task shares its resamples of the proteins of a range.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from protea_ray.config.length_groups import group_in_words
from protea_ray.evaluate.tables.chosen_controls import named_input, usual_baseline
from protea_ray.evaluate.tables.estimates import Estimate, Estimates, InputFacts, TaskFacts, difference_facts
from protea_ray.evaluate.tables.shown import ShownTable

FEW = 30  # proteins: a bootstrap interval of fewer covers less than it says


@dataclass(frozen=True)
class OfLength:
    """One input on the proteins of one range; `difference` to `baseline`, None of the baseline itself."""

    task: TaskFacts
    subset: str
    given: InputFacts
    reached: Estimate
    baseline: InputFacts | None
    difference: Estimate | None

    def cells(self) -> list[str]:
        """Its row of text."""
        beside = ["", "", ""]
        if self.baseline is not None and self.difference is not None:
            beside = [*self.difference.signed_cells(), self.baseline.name]
        facts = [
            self.task.name,
            self.task.metric,
            group_in_words(self.subset) or self.subset,
            f"{self.reached.count:,}",
            self.given.shown,
        ]
        return [*facts, *self.reached.cells(), *beside]

    def to_json(self) -> dict[str, Any]:
        """Plain values only."""
        return {"task": self.task.name, "task_digest": self.task.digest, "metric": self.task.metric,
                "subset": self.subset, "input": self.given.name, "control": self.given.control,
                **self.reached.to_json(), "baseline": self.baseline.name if self.baseline else None,
                **difference_facts(self.difference)}  # fmt: skip


@dataclass(frozen=True, repr=False)
class LengthTable(ShownTable):
    """One row for each task, range of lengths and input."""

    probe: str
    values: tuple[OfLength, ...]

    @property
    def title(self) -> str:
        """What the table shows."""
        return f"Scores by length, {self.probe} probe"

    def columns(self) -> list[str]:
        """Names of the columns."""
        return [
            "task",
            "metric",
            "residues",
            "proteins",
            "input",
            "value",
            "interval",
            "difference",
            "its interval",
            "to",
        ]

    def lesser(self) -> set[str]:
        """All but the names, the values and the differences."""
        return {"metric", "proteins", "interval", "its interval", "to"}

    def rows(self) -> list[list[str]]:
        """Task by task, the shortest range first."""
        return [value.cells() for value in self.values]

    def facts(self) -> list[str]:
        """What a value and a difference are, and which ranges hold too few proteins to say much."""
        facts = [
            "value: mean ± standard deviation over seeds; interval: 95 %, bootstrap over the proteins of the range; "
            "difference: paired, over the same resamples of these proteins; to: the untrained model of the same "
            "shape where there is one, else the composition, else random vectors, unless one was named"
        ]
        few = {(v.task.name, v.subset): v.reached.count for v in self.values if v.reached.count < FEW}
        if few:
            said = ", ".join(f"{task} {group_in_words(subset)} ({count:,})" for (task, subset), count in few.items())
            facts.append(f"fewer than {FEW} proteins, where an interval is too narrow to be trusted: {said}")
        return facts

    def to_json(self) -> dict[str, Any]:
        """Plain values only."""
        return {"probe": self.probe, "values": [value.to_json() for value in self.values]}


def length_table(results: pa.Table | Estimates, probe: str = "linear", baseline: str | None = None) -> LengthTable:
    """Make the table of one probe from rows of the schema EVALUATIONS.

    `baseline` names the input that all are set beside; unset: see `usual_baseline`. Raises ConfigError for a name that
    is not there.
    """
    found = Estimates.read(results)
    against = named_input(found, baseline) if baseline is not None else None
    return LengthTable(probe, tuple(v for task in found.tasks for v in _of_task(found, task, probe, against)))


def _of_task(found: Estimates, task: TaskFacts, probe: str, against: InputFacts | None) -> Iterator[OfLength]:
    there = found.of_task(task)
    for subset in found.length_groups(task):
        for given in there:
            reached = found.find(task, given, probe, subset=subset)
            if reached is None:
                continue
            base = against or usual_baseline(there, given)
            other = found.find(task, base, probe, subset=subset) if base is not None and base != given else None
            yield OfLength(task, subset, given, reached, base, None if other is None else reached.minus(other))
