"""The rows of `evaluations`, seeds gathered: what one probe on one input reaches on one task, and how sure that is.

Two spreads belong to each figure and must not be mixed up. The standard deviation over seeds says how much the training
of the probe adds; the interval says how much the choice of tested proteins adds, and is that of the mean over seeds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from protea_ray.config.length_groups import group_in_words, shortest_of
from protea_ray.evaluate.bootstrap import interval
from protea_ray.evaluate.inputs import COMPOSITION, RANDOM, UNTRAINED
from protea_ray.evaluate.task import HEADLINE

ALL, STRICT = "all", "without_relatives"
_CONTROLS_FIRST = (UNTRAINED, COMPOSITION, "", RANDOM)  # "": any other control
_FACTS = (
    "input", "input_digest", "control", "space", "version", "pooling", "width", "model", "recipe", "task",
    "task_digest", "kind", "split", "train", "protocol", "seed", "probe", "subset", "count", "metric", "value",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Estimate:
    """A metric of one probe on one input. `values` (seeds,) belong to `seeds`, `draws` (seeds, resamples) to both.

    Seeds for which the metric is not defined are absent. `count`: the tested proteins that it is about.
    """

    seeds: tuple[int, ...]
    values: np.ndarray = field(repr=False)
    draws: np.ndarray = field(repr=False)
    count: int

    @property
    def value(self) -> float:
        """The mean over seeds."""
        return float(self.values.mean())

    @property
    def sd(self) -> float | None:
        """The standard deviation over seeds (n - 1); None of a single one."""
        return float(self.values.std(ddof=1)) if len(self.values) > 1 else None

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """The ends of the 95 % interval of the mean over seeds; None where no resamples were kept."""
        return ends(self.draws)

    def with_spread(self) -> str:
        """Mean and standard deviation over seeds: `0.467 ± 0.003`."""
        return f"{self.value:.3f}" + ("" if self.sd is None else f" ± {self.sd:.3f}")

    def cells(self) -> list[str]:
        """The same, and the interval."""
        return [self.with_spread(), shown_interval(self.interval)]

    def to_json(self) -> dict[str, Any]:
        """Plain values only, without the resamples."""
        low, high = self.interval or (None, None)
        return {"value": self.value, "sd": self.sd, "low": low, "high": high, "count": self.count,
                "seeds": list(self.seeds)}  # fmt: skip

    def signed_cells(self) -> list[str]:
        """A difference and its interval, both with their signs."""
        return [f"{self.value:+.3f}", shown_interval(self.interval, "+")]

    def average(self, other: Estimate) -> Estimate | None:
        """(a + b) / 2 of two metrics of the same trainings, seed by seed; None where they share no seed."""
        shared = tuple(seed for seed in self.seeds if seed in other.seeds)
        if not shared:
            return None
        one, two = ([e.seeds.index(seed) for seed in shared] for e in (self, other))
        values = (self.values[one] + other.values[two]) / 2
        draws = (self.draws[one] + other.draws[two]) / 2
        return Estimate(shared, values, draws, min(self.count, other.count))

    @property
    def seed_error(self) -> float | None:
        """The standard error over seeds of the mean; None of a single one."""
        return None if self.sd is None else self.sd / float(np.sqrt(len(self.values)))

    def minus(self, other: Estimate) -> Estimate:
        """The difference of the two means; its draws are paired, for all inputs of a task share their resamples."""
        one, two = (e.draws.mean(axis=0, dtype=np.float64, keepdims=True) for e in (self, other))
        draws = one - two if one.shape == two.shape else np.empty((1, 0))
        return Estimate((), np.array([self.value - other.value]), draws, min(self.count, other.count))


def difference_facts(found: Estimate | None) -> dict[str, float | None]:
    """A difference and the ends of its interval as plain values; None throughout where there is none."""
    low, high = (found.interval if found else None) or (None, None)
    return {"difference": found.value if found else None, "difference_low": low, "difference_high": high}


def ends(draws: np.ndarray) -> tuple[float, float] | None:
    """The 95 % interval of the mean over seeds; None of no draws, or of none that is defined."""
    low, high = interval(draws) if draws.size else (np.nan, np.nan)
    return None if np.isnan(low) else (float(low), float(high))


def shown_interval(found: tuple[float, float] | None, sign: str = "") -> str:
    """An interval as tables show it: `0.451 to 0.483`, "-" for None. `sign` "+" shows that of both ends."""
    return "-" if found is None else f"{found[0]:{sign}.3f} to {found[1]:{sign}.3f}"


@dataclass(frozen=True)
class TaskFacts:
    """A task as it was judged: name, kind, digest, protocol, split in words, proteins in training."""

    name: str
    kind: str
    digest: str
    protocol: str
    split: str
    train: int

    @property
    def metric(self) -> str:
        """The metric that tables show."""
        return HEADLINE[self.kind]

    @property
    def mark(self) -> str:
        """What tells it from another task of its name."""
        return f"{self.digest[:8]}, protocol {self.protocol}"


@dataclass(frozen=True)
class InputFacts:
    """An input as its rows describe it: a subject, or a control of the kind `control`."""

    name: str
    digest: str
    control: str
    width: int
    space: str
    version: int
    pooling: str
    model: str
    recipe: Mapping[str, Any] = field(repr=False, hash=False)

    @property
    def shown(self) -> str:
        """Its name, and whether it is a control."""
        kind = f"{UNTRAINED} control" if self.control == UNTRAINED and UNTRAINED not in self.name else "control"
        return f"{self.name} ({kind})" if self.control else self.name

    @property
    def mark(self) -> str:
        """What tells it from another input of its name."""
        return self.digest[:8]


_Named = TypeVar("_Named", TaskFacts, InputFacts)


@dataclass(frozen=True)
class Estimates:
    """Everything that the rows say. Tasks by name; inputs: subjects by name, then controls, the hardest kind first."""

    tasks: tuple[TaskFacts, ...]
    inputs: tuple[InputFacts, ...]
    probes: tuple[str, ...]
    _found: Mapping[tuple[str, ...], Estimate] = field(repr=False)

    @classmethod
    def read(cls, results: pa.Table | Estimates) -> Estimates:
        """Gather rows of the schema EVALUATIONS by task, protocol, input, probe, subset and metric.

        What was gathered before is given back as it is, so that several tables share one reading.
        """
        if isinstance(results, Estimates):
            return results
        tasks: dict[tuple[str, str], TaskFacts] = {}
        inputs: dict[str, InputFacts] = {}
        series: dict[tuple[str, ...], dict[int, tuple[float, np.ndarray, int]]] = {}
        for row, draws in _rows(results):
            tasks.setdefault((row["task_digest"], row["protocol"]), _task(row))
            known = inputs.get(row["input_digest"])
            if known is None or row["version"] > known.version:  # found cells may be of an earlier version
                inputs[row["input_digest"]] = _input(row)
            if row["value"] is not None:
                parts = ("task_digest", "protocol", "input_digest", "probe", "subset", "metric")
                of_seeds = series.setdefault(tuple(row[part] for part in parts), {})
                of_seeds[row["seed"]] = (row["value"], draws, row["count"])
        probes = sorted({key[3] for key in series})
        found = {key: _estimate(of_seeds) for key, of_seeds in series.items()}
        return cls(_told_apart(tasks.values()), _in_order(_told_apart(inputs.values())), tuple(probes), found)

    def find(
        self, task: TaskFacts, given: InputFacts, probe: str, metric: str | None = None, subset: str = ALL
    ) -> Estimate | None:
        """One figure, of the task's own metric unless another is named; None where it is not there or not defined."""
        return self._found.get((task.digest, task.protocol, given.digest, probe, subset, metric or task.metric))

    @property
    def subjects(self) -> tuple[InputFacts, ...]:
        """The inputs that are no controls."""
        return tuple(given for given in self.inputs if not given.control)

    def length_groups(self, task: TaskFacts) -> list[str]:
        """The subsets of the task that are groups by length, the shortest proteins first."""
        there = {key[4] for key in self._found if key[:2] == (task.digest, task.protocol)}
        return sorted((subset for subset in there if group_in_words(subset)), key=shortest_of)

    def of_task(self, task: TaskFacts) -> list[InputFacts]:
        """The inputs of which the task has any figure, in order."""
        there = {key[2] for key in self._found if key[:2] == (task.digest, task.protocol)}
        return [given for given in self.inputs if given.digest in there]


def _rows(results: pa.Table) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Each row's facts, and its resamples as an array without a copy."""
    for batch in results.to_batches():
        facts = batch.select(_FACTS).to_pylist()
        drawn = batch.column("resampled")
        values, offsets = drawn.values.to_numpy(zero_copy_only=False), drawn.offsets.to_numpy()
        for number, row in enumerate(facts):
            yield row, values[offsets[number] : offsets[number + 1]]


def _task(row: Mapping[str, Any]) -> TaskFacts:
    return TaskFacts(row["task"], row["kind"], row["task_digest"], row["protocol"], row["split"], row["train"])


def _input(row: Mapping[str, Any]) -> InputFacts:
    names = ("control", "width", "space", "version", "pooling", "model")
    recipe = json.loads(row["recipe"] or "{}") or {}
    return InputFacts(row["input"], row["input_digest"], *(row[name] for name in names), recipe=recipe)


def _estimate(of_seeds: Mapping[int, tuple[float, np.ndarray, int]]) -> Estimate:
    seeds = tuple(sorted(of_seeds))
    values, draws, counts = zip(*(of_seeds[seed] for seed in seeds), strict=True)
    fewest = min(map(len, draws))  # a seed without resamples leaves the mean over seeds without an interval
    return Estimate(seeds, np.array(values, float), np.stack([d[:fewest] for d in draws]), max(counts))


def _told_apart(facts: Iterable[_Named]) -> tuple[_Named, ...]:
    """The same, in the order of names; of several with one name each has its mark behind it."""
    ordered = sorted(facts, key=lambda f: (f.name, f.mark))
    names = [f.name for f in ordered]
    return tuple(replace(f, name=f"{f.name} ({f.mark})") if names.count(f.name) > 1 else f for f in ordered)


def _in_order(inputs: Sequence[InputFacts]) -> tuple[InputFacts, ...]:
    def place(given: InputFacts) -> int:
        known = given.control if given.control in _CONTROLS_FIRST else ""
        return _CONTROLS_FIRST.index(known) + 1 if given.control else 0

    return tuple(sorted(inputs, key=place))
