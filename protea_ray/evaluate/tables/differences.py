"""Differences between inputs, paired over tested proteins, with a verdict in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import pyarrow as pa

from protea_ray.evaluate.tables.chosen_controls import named_input, usual_baseline
from protea_ray.evaluate.tables.estimates import Estimate, Estimates, InputFacts, TaskFacts
from protea_ray.evaluate.tables.noise import NoiseWarning, noise_warnings
from protea_ray.evaluate.tables.shown import ShownTable

BETTER, WORSE, TIE, UNKNOWN = "better", "worse", "not told apart at 95 %", "not judged: no interval"
SEEDS = "not told apart: seeds differ as much"
SEED_ERRORS = 2.0  # standard errors over seeds that a difference must exceed


@dataclass(frozen=True)
class PairedDifference:
    """`one` minus `other` in the headline metric of one task, of one probe."""

    task: TaskFacts
    probe: str
    one: InputFacts
    other: InputFacts
    found: Estimate
    seed_error: float | None

    @property
    def verdict(self) -> str:
        """Whether the 95 % interval of the difference is above 0, below 0, or neither.

        The interval is about the choice of proteins. A difference that other seeds might have turned round, one of
        less than 2 of their standard errors, is none either.
        """
        if self.found.interval is None:
            return UNKNOWN
        low, high = self.found.interval
        if low <= 0 <= high:
            return TIE
        if self.seed_error is not None and abs(self.found.value) < SEED_ERRORS * self.seed_error:
            return SEEDS
        return BETTER if low > 0 else WORSE

    def cells(self) -> list[str]:
        """Its row of text."""
        facts = [self.task.name, self.task.metric, self.probe, self.one.name, self.other.name]
        return [*facts, *self.found.signed_cells(), self.verdict]

    def to_json(self) -> dict[str, Any]:
        """Plain values only."""
        low, high = self.found.interval or (None, None)
        return {"task": self.task.name, "task_digest": self.task.digest, "metric": self.task.metric,
                "probe": self.probe, "input": self.one.name, "other": self.other.name, "difference": self.found.value,
                "low": low, "high": high, "seed_error": self.seed_error, "verdict": self.verdict}  # fmt: skip


@dataclass(frozen=True, repr=False)
class DifferenceTable(ShownTable):
    """One row for each task, probe and pair of inputs."""

    values: tuple[PairedDifference, ...]
    warnings: tuple[NoiseWarning, ...]

    @property
    def title(self) -> str:
        """What the table shows."""
        return "Differences"

    def columns(self) -> list[str]:
        """Names of the columns."""
        return ["task", "metric", "probe", "input", "minus", "difference", "interval", "the first is"]

    def lesser(self) -> set[str]:
        """The metric and the interval, which the verdict sums up."""
        return {"metric", "interval"}

    def rows(self) -> list[list[str]]:
        """Task by task."""
        return [value.cells() for value in self.values]

    def facts(self) -> list[str]:
        """What is compared, and how many comparisons were made: some are told apart by chance."""
        count = len(self.values)
        told = sum(value.verdict in (BETTER, WORSE) for value in self.values)
        return [
            "difference of means over seeds; interval: 95 %, paired over tested proteins; better and worse: the "
            f"interval does not hold 0, and the difference is above {SEED_ERRORS:g} standard errors over seeds",
            f"{count:,} comparison{'' if count == 1 else 's'}, {told:,} told apart; of {count:,} true ties about "
            f"{0.05 * count:.1f} would be told apart by chance, for intervals are not widened for their number",
            *(f"warning: {warning}" for warning in self.warnings),
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain values only."""
        return {"comparisons": len(self.values), "values": [value.to_json() for value in self.values]}


def differences(results: pa.Table | Estimates, baseline: str | None = None) -> DifferenceTable:
    """Set inputs beside each other, from rows of the schema EVALUATIONS.

    With `baseline`, each other input minus that one. Unset: each subject minus its control (see `usual_baseline`), and
    every pair of subjects. Raises ConfigError for a baseline that is not there.
    """
    found = Estimates.read(results)
    against = named_input(found, baseline) if baseline is not None else None
    values = [
        PairedDifference(task, probe, one, other, first.minus(second), _seed_error(first, second))
        for task in found.tasks
        for probe in found.probes
        for one, other in _pairs(found.of_task(task), against)
        if (first := found.find(task, one, probe)) and (second := found.find(task, other, probe))
    ]
    return DifferenceTable(tuple(values), noise_warnings(found))


def _seed_error(one: Estimate, other: Estimate) -> float | None:
    """The standard error over seeds of a difference of means; None where either has one seed."""
    if one.seed_error is None or other.seed_error is None:
        return None
    return math.hypot(one.seed_error, other.seed_error)


def _pairs(there: Sequence[InputFacts], against: InputFacts | None) -> Iterator[tuple[InputFacts, InputFacts]]:
    if against is not None:
        yield from ((given, against) for given in there if given != against)
        return
    subjects = [given for given in there if not given.control]
    yield from ((given, base) for given in subjects if (base := usual_baseline(there, given)) is not None)
    yield from combinations(subjects, 2)
