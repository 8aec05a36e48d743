"""The score table: what each input reaches on each task, beside controls, with and without relatives in training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from protea_ray.evaluate.inputs import RANDOM
from protea_ray.evaluate.tables.estimates import STRICT, Estimate, Estimates, InputFacts, TaskFacts
from protea_ray.evaluate.tables.noise import NoiseWarning, noise_warnings
from protea_ray.evaluate.tables.shown import ShownTable


@dataclass(frozen=True)
class Score:
    """The headline metric of one input on one task, by probe; `strict` of proteins without relatives in training."""

    task: TaskFacts
    given: InputFacts
    by_probe: dict[str, Estimate]
    strict: dict[str, Estimate]

    def to_json(self) -> dict[str, Any]:
        """Plain values only."""
        return {
            "task": self.task.name,
            "task_digest": self.task.digest,
            "protocol": self.task.protocol,
            "kind": self.task.kind,
            "split": self.task.split,
            "train": self.task.train,
            "metric": self.task.metric,
            "input": self.given.name,
            "control": self.given.control,
            "space": self.given.space,
            "version": self.given.version,
            "pooling": self.given.pooling,
            "width": self.given.width,
            "probes": {probe: found.to_json() for probe, found in self.by_probe.items()},
            STRICT: {probe: found.to_json() for probe, found in self.strict.items()},
        }


@dataclass(frozen=True, repr=False)
class ScoreTable(ShownTable):
    """One row for each task and input."""

    scores: tuple[Score, ...]
    probes: tuple[str, ...]
    warnings: tuple[NoiseWarning, ...]
    without_random: tuple[str, ...]

    @property
    def title(self) -> str:
        """What the table shows."""
        return "Scores"

    def columns(self) -> list[str]:
        """Task, metric, input, and each probe over all tested proteins and over those without relatives."""
        figures = [name for probe in self.probes for name in (probe, f"{probe} interval")]
        return ["task", "metric", "input", "tested", *figures, *self._strict_columns()]

    def _strict_columns(self) -> list[str]:
        there = any(score.strict for score in self.scores)
        return ["tested no relatives", *(f"{probe} no relatives" for probe in self.probes)] if there else []

    def lesser(self) -> set[str]:
        """All but the names and the figures over all tested proteins."""
        return set(self.columns()) - {"task", "input", *self.probes}

    def rows(self) -> list[list[str]]:
        """Task by task; figures as `0.467 ± 0.003` and `0.451 to 0.483`."""
        return [self._row(score) for score in self.scores]

    def _row(self, score: Score) -> list[str]:
        first = next(iter(score.by_probe.values()))
        figures = [score.by_probe.get(probe) for probe in self.probes]
        cells = [cell for found in figures for cell in (found.cells() if found else ["-", "-"])]
        return [score.task.name, score.task.metric, score.given.shown, f"{first.count:,}", *cells, *self._strict(score)]

    def _strict(self, score: Score) -> list[str]:
        if not self._strict_columns():
            return []
        figures = [score.strict.get(probe) for probe in self.probes]
        count = next((f"{found.count:,}" for found in figures if found), "-")
        return [count, *(found.with_spread() if found else "-" for found in figures)]

    def facts(self) -> list[str]:
        """How to read the figures; where the whole range is noise."""
        seeds = sorted({len(e.seeds) for score in self.scores for e in score.by_probe.values()})
        number = " to ".join(dict.fromkeys(str(n) for n in (*seeds[:1], *seeds[-1:])))
        facts = [
            f"mean ± standard deviation over {number} seed{'' if number == '1' else 's'} of the probe's training; "
            "interval: 95 %, bootstrap of the mean over tested proteins"
        ]
        if self._strict_columns():
            facts.append("no relatives: tested proteins that share no words with a protein in training")
        facts += [f"warning: {warning}" for warning in self.warnings]
        if self.without_random:
            names = ", ".join(self.without_random)
            facts.append(f"no random vectors beside {names}: whether the range there is noise cannot be told")
        return facts

    def to_json(self) -> dict[str, Any]:
        """Plain values only."""
        return {"values": [score.to_json() for score in self.scores], "noise": [asdict(w) for w in self.warnings]}


def score_table(results: pa.Table | Estimates) -> ScoreTable:
    """Make the table from rows of the schema EVALUATIONS."""
    found = Estimates.read(results)
    scores = [score for task in found.tasks for score in _scores(found, task)]
    bare = [task.name for task in found.tasks if not any(i.control == RANDOM for i in found.of_task(task))]
    return ScoreTable(tuple(scores), found.probes, noise_warnings(found), tuple(bare))


def _scores(found: Estimates, task: TaskFacts) -> Iterator[Score]:
    for given in found.of_task(task):
        by_probe = _by_probe(found, task, given)
        if by_probe:
            yield Score(task, given, by_probe, _by_probe(found, task, given, STRICT))


def _by_probe(found: Estimates, task: TaskFacts, given: InputFacts, subset: str = "all") -> dict[str, Estimate]:
    figures = {probe: found.find(task, given, probe, subset=subset) for probe in found.probes}
    return {probe: figure for probe, figure in figures.items() if figure is not None}
