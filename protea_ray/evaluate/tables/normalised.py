"""Scores between random vectors and the best input of the table, as FastESM's model card sets models side by side.

For a task and an input a = (MCC + macro-F1) / 2 for classes, (Spearman + R2) / 2 for numbers, and micro F1max for sets
of terms; n = (a - a_random) / (a_best - a_random), where a_random is that of N(0, 1) vectors of the same width through
the same probe and a_best the highest a of the table. The card's probe is wider than ours, so n is to be set beside
theirs, a is not. Of the composition, which has no random vectors of its width, a_random is the highest there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from protea_ray.evaluate.inputs import RANDOM
from protea_ray.evaluate.tables.chosen_controls import random_for
from protea_ray.evaluate.tables.estimates import Estimate, Estimates, InputFacts, TaskFacts
from protea_ray.evaluate.tables.noise import ENOUGH_SD, is_noise
from protea_ray.evaluate.tables.shown import ShownTable
from protea_ray.evaluate.task import CLASSIFICATION, MULTILABEL, REGRESSION, RESIDUE

_AVERAGED = {
    CLASSIFICATION: ("mcc", "macro_f1"),
    RESIDUE: ("mcc", "macro_f1"),
    REGRESSION: ("spearman", "r2"),
    MULTILABEL: ("f1max_micro", "f1max_micro"),
}
_NAMED = {
    CLASSIFICATION: "(mcc + macro_f1) / 2",
    RESIDUE: "(mcc + macro_f1) / 2",
    REGRESSION: "(spearman + r2) / 2",
    MULTILABEL: "f1max_micro",
}


@dataclass(frozen=True)
class Normalised:
    """One input on one task: raw `a`, `n`, None without random vectors or above them by nothing, and its interval.

    `n_low` and `n_high`: the 95 % interval of a - a_random, paired over tested proteins, divided by a_best - a_random
    as it is. `noise`: the best input is less than 3 standard deviations above random vectors; None where that cannot
    be told.
    """

    task: TaskFacts
    given: InputFacts
    a: Estimate
    n: float | None
    n_low: float | None
    n_high: float | None
    noise: bool | None

    def cells(self) -> list[str]:
        """Its row of text."""
        mark = {True: "noise", None: "cannot be told"}.get(self.noise, "") if self.n is not None else "no scale"
        n = "-" if self.n is None else f"{self.n:.3f}"
        return [self.task.name, _NAMED[self.task.kind], self.given.shown, self.a.with_spread(), n, mark]

    def to_json(self) -> dict[str, Any]:
        """Plain values only."""
        return {"task": self.task.name, "task_digest": self.task.digest, "input": self.given.name,
                "control": self.given.control, "a": self.a.to_json(), "n": self.n, "n_low": self.n_low,
                "n_high": self.n_high, "noise": self.noise}  # fmt: skip


@dataclass(frozen=True)
class MeanOfTasks:
    """The mean of n of one input over the tasks whose range is above noise; `n` None where it has none of them."""

    given: InputFacts
    n: float | None
    tasks: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class NormalisedTable(ShownTable):
    """One row for each task and input, and at the end the mean over tasks, a row for each input."""

    probe: str
    values: tuple[Normalised, ...]
    means: tuple[MeanOfTasks, ...]

    @property
    def title(self) -> str:
        """What the table shows."""
        return f"Normalised scores, {self.probe} probe"

    def columns(self) -> list[str]:
        """Names of the columns."""
        return ["task", "a", "input", "raw a", "n", "range"]

    def lesser(self) -> set[str]:
        """How a is made, and a itself."""
        return {"a", "raw a"}

    def rows(self) -> list[list[str]]:
        """Task by task, then the means."""
        means = [["mean", f"of {_tasks(m.tasks)}", m.given.shown, "", f"{m.n:.3f}", ""] for m in self._told()]
        return [value.cells() for value in self.values] + means

    def _told(self) -> Iterator[MeanOfTasks]:
        return (mean for mean in self.means if mean.n is not None)

    def facts(self) -> list[str]:
        """What n is, and which tasks are not in the mean."""
        facts = [
            "n = (a - a of random vectors of the same width) / (highest a - a of random vectors): 0 is random, 1 the "
            "best input of this table; raw a is the mean ± standard deviation over seeds",
            f"range: noise where the best is less than {ENOUGH_SD:g} standard deviations above random vectors",
        ]
        counted = {name for mean in self.means for name in mean.tasks}
        left_out = dict.fromkeys(v.task.name for v in self.values if v.task.name not in counted)
        if left_out:
            facts.append(f"not in the mean, for their range is noise, unknown or missing: {', '.join(left_out)}")
        if len({mean.tasks for mean in self._told()}) > 1:
            facts.append("the means of inputs over different tasks are not comparable")
        return facts

    def to_json(self) -> dict[str, Any]:
        """Plain values only."""
        means = [{"input": m.given.name, "control": m.given.control, "n": m.n, "tasks": list(m.tasks)}
                 for m in self.means]  # fmt: skip
        return {"probe": self.probe, "values": [value.to_json() for value in self.values], "means": means}


def _tasks(names: Sequence[str]) -> str:
    return f"{len(names)} task{'' if len(names) == 1 else 's'}"


def normalised_table(results: pa.Table | Estimates, probe: str = "linear") -> NormalisedTable:
    """Make the table of one probe from rows of the schema EVALUATIONS."""
    found = Estimates.read(results)
    values = [value for task in found.tasks for value in _of_task(found, task, probe)]
    means = [_mean(given, values) for given in found.inputs if given.control != RANDOM]
    return NormalisedTable(probe, tuple(values), tuple(means))


def raw(found: Estimates, task: TaskFacts, given: InputFacts, probe: str) -> Estimate | None:
    """a of one input, seed by seed; None where one of its metrics is not there or not defined."""
    first, second = (found.find(task, given, probe, metric) for metric in _AVERAGED[task.kind])
    return first.average(second) if first is not None and second is not None else None


def _of_task(found: Estimates, task: TaskFacts, probe: str) -> Iterator[Normalised]:
    there = {given: a for given in found.of_task(task) if (a := raw(found, task, given, probe)) is not None}
    if not there:
        return
    best = max(there.values(), key=lambda a: a.value)
    for given, a in there.items():
        randoms = [there[r] for r in random_for(found, task, given) if r in there]
        zero = max(randoms, key=lambda r: r.value, default=None)
        span = best.value - zero.value if zero is not None else 0.0
        if zero is None or span <= 0:
            yield Normalised(task, given, a, None, None, None, None if zero is None else True)
            continue
        above = a.minus(zero)
        low, high = (end / span for end in above.interval) if above.interval else (None, None)
        yield Normalised(task, given, a, above.value / span, low, high, is_noise(best, zero))


def _mean(given: InputFacts, values: Sequence[Normalised]) -> MeanOfTasks:
    """Over the tasks whose range is known to be no noise: one that is noise can be any number."""
    own = [(v.task.name, v.n) for v in values if v.given == given and v.noise is False and v.n is not None]
    n = sum(value for _, value in own) / len(own) if own else None
    return MeanOfTasks(given, n, tuple(name for name, _ in own))
