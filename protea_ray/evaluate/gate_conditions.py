"""One task of a gate: the rows of an evaluation become figures beside those wanted.

A figure of the new space alone is its mean over the seeds. A difference, to the space of the alias or to a control, is
judged by the lower end of its paired 95 % interval, as a test of non-inferiority is (Piaggio et al. 2012): a space that
is better or worse by chance alone does not pass for one that is better, nor for one that is no worse. Where the file
allows standard errors the difference itself is judged: few tested proteins would otherwise let nothing pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from protea_ray.config.gate_file import TaskConditions
from protea_ray.evaluate.bootstrap import interval, paired, paired_error
from protea_ray.evaluate.inputs import UNTRAINED
from protea_ray.pipeline.gate_figures import GateFigure

NO_CURRENT = "the alias points to no other space"


@dataclass(frozen=True)
class SeedValues:
    """One metric of one input: `values` (seeds,), nan where not defined, and `resampled` (seeds, draws) of `count`."""

    values: np.ndarray
    resampled: np.ndarray
    count: int

    @property
    def mean(self) -> float:
        """Over the seeds; nan where the metric is not defined."""
        return float(self.values.mean())


@dataclass(frozen=True)
class TaskRows:
    """Rows of the schema EVALUATIONS of one task, for the conditions on one of its metrics.

    `pooling` is the one that is judged, of spaces with several; `before` is the space that the alias points to.
    """

    results: pa.Table
    conditions: TaskConditions
    metric: str
    space: str
    before: str | None
    poolings: dict[str, str]

    @property
    def figure(self) -> str:
        """What is measured, in words."""
        task = self.results["task"][0].as_py() if len(self.results) else self.conditions.task
        subset = "" if self.conditions.subset == "all" else f", {self.conditions.subset}"
        return f"{task} {self.metric} ({self.conditions.probe}{subset})"

    def figures(self) -> Iterator[GateFigure]:
        """Every condition on this metric, in the order of the gate file's fields."""
        conditions, new = self.conditions, self.of_space(self.space)
        if conditions.at_least is not None:
            yield self._alone(new, conditions.at_least)
        if (margin := conditions.not_below_current_by) is not None:
            yield self._beside_current(new, margin)
        for control, margin in conditions.above_control.items():
            found = self.of_control(control)
            condition = f"above_control {control}"
            missing = f"no control {control} was evaluated"
            yield self._difference(condition, margin, new, found, missing)

    def _alone(self, new: SeedValues | None, wanted: float) -> GateFigure:
        if problem := _undefined(new, f"{self.space} was not evaluated"):
            return GateFigure(self.figure, "at_least", wanted, None, False, why=problem)
        assert new is not None
        low, high = interval(new.resampled)
        return GateFigure(self.figure, "at_least", wanted, new.mean, new.mean >= wanted, low, high)

    def _beside_current(self, new: SeedValues | None, margin: float) -> GateFigure:
        condition = "not_below_current_by"
        if self.before is None:
            return GateFigure(self.figure, condition, -margin, None, None, why=NO_CURRENT)
        current, missing = self.of_space(self.before), f"{self.before} was not evaluated"
        if (errors := self.conditions.or_standard_errors) is None:
            return self._difference(condition, -margin, new, current, missing)
        return self._within_errors(margin, errors, new, current, missing)

    def _within_errors(
        self, margin: float, errors: float, new: SeedValues | None, current: SeedValues | None, missing: str
    ) -> GateFigure:
        """The difference itself, beside the wider of the margin and of `errors` paired standard errors."""
        condition = f"not_below_current_by, or {errors:g} standard error(s)"
        found = self._difference(condition, -margin, new, current, missing)
        if found.found is None or new is None or current is None:
            return found
        error = paired_error(new.resampled, current.resampled)
        wanted = -max(margin, 0.0 if np.isnan(error) else errors * error)
        return replace(found, wanted=wanted, met=found.found >= wanted)

    def _difference(
        self, condition: str, wanted: float, new: SeedValues | None, other: SeedValues | None, missing: str
    ) -> GateFigure:
        problem = _undefined(new, f"{self.space} was not evaluated") or _undefined(other, missing)
        if problem:
            return GateFigure(self.figure, condition, wanted, None, False, why=problem)
        assert new is not None
        assert other is not None
        _, low, high = paired(new.resampled, other.resampled)
        return GateFigure(self.figure, condition, wanted, new.mean - other.mean, low >= wanted, low, high)

    def of_space(self, space: str) -> SeedValues | None:
        """The values of a space, at its judged pooling where several were evaluated."""
        rows = self._of_metric().filter(pc.field("space") == space)
        if len(pc.unique(rows["input_digest"])) > 1:
            rows = rows.filter(pc.field("pooling") == self.poolings.get(space, ""))
        return _values(rows)

    def of_control(self, control: str) -> SeedValues | None:
        """The values of a control; of several, such as twins of both spaces, those of the new space's width, and of
        these the highest."""
        rows = self._of_metric()
        if control == UNTRAINED:
            rows = rows.filter(~pc.field("trained") & (pc.field("space") != "") & (pc.field("space") != self.space))
        else:
            rows = rows.filter(pc.field("control") == control)
        width = self._width()
        if width in rows["width"].to_pylist():
            rows = rows.filter(pc.field("width") == width)
        digests = pc.unique(rows["input_digest"]).to_pylist()
        found = [_values(rows.filter(pc.field("input_digest") == digest)) for digest in digests]
        return max((f for f in found if f is not None), key=lambda f: np.nan_to_num(f.mean, nan=-np.inf), default=None)

    def _of_metric(self) -> pa.Table:
        wanted = self.conditions
        return self.results.filter(
            (pc.field("probe") == wanted.probe)
            & (pc.field("subset") == wanted.subset)
            & (pc.field("metric") == self.metric)
        )

    def _width(self) -> int | None:
        """Of the new space's vectors."""
        rows = self.results.filter(pc.field("space") == self.space)
        return rows["width"][0].as_py() if len(rows) else None


def _values(rows: pa.Table) -> SeedValues | None:
    """The rows of one input, a seed each; None for no row."""
    if not len(rows):
        return None
    rows = rows.sort_by("seed")
    values = np.array([np.nan if v is None else v for v in rows["value"].to_pylist()], np.float64)
    resampled = np.array(rows["resampled"].to_pylist(), np.float64)
    return SeedValues(values, resampled, int(rows["count"][0].as_py()))


def _undefined(found: SeedValues | None, missing: str) -> str:
    """Why there is no number; empty where there is one."""
    if found is None:
        return missing
    return f"not defined for these {found.count:,} proteins" if np.isnan(found.mean) else ""


def unjudged(conditions: Sequence[TaskConditions], why: str) -> Iterator[GateFigure]:
    """Every condition of a task that could not be evaluated: each fails."""
    for one in conditions:
        figure = f"{one.task} {one.metric or 'headline metric'} ({one.probe})"
        if one.at_least is not None:
            yield GateFigure(figure, "at_least", one.at_least, None, False, why=why)
        if one.not_below_current_by is not None:
            yield GateFigure(figure, "not_below_current_by", -one.not_below_current_by, None, False, why=why)
        for control, margin in one.above_control.items():
            yield GateFigure(figure, f"above_control {control}", margin, None, False, why=why)
