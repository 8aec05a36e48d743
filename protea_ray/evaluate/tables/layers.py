"""Which layer of a model is best, by task: spaces whose recipes are equal but for the layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from protea_ray.config.identity import canonical_json
from protea_ray.evaluate.tables.estimates import Estimate, Estimates, InputFacts, TaskFacts, difference_facts
from protea_ray.evaluate.tables.shown import ShownTable

_NOT_COMPARED = {"layers", "layer_agg", "pooling", "outputs"}  # the row's own pooling says which vectors are meant


@dataclass(frozen=True)
class OfLayer:
    """One layer (or several, as the recipe has them, counted from the end) of one model on one task.

    `model` names what its layers share: model and pooling. `difference` to the last layer, None of itself and where it
    is not there.
    """

    task: TaskFacts
    model: str
    given: InputFacts
    layers: tuple[int, ...]
    reached: Estimate
    difference: Estimate | None
    best: bool

    def cells(self) -> list[str]:
        """Its row of text."""
        beside = ["", ""] if self.difference is None else self.difference.signed_cells()
        layers, mark = ",".join(map(str, self.layers)), "best" if self.best else ""
        facts = [self.task.name, self.task.metric, self.model, layers]
        return [*facts, *self.reached.cells(), *beside, mark, self.given.name]

    def to_json(self) -> dict[str, Any]:
        """Plain values only."""
        return {"task": self.task.name, "task_digest": self.task.digest, "metric": self.task.metric,
                "model": self.model, "pooling": self.given.pooling, "layers": list(self.layers),
                "input": self.given.name, **self.reached.to_json(),
                **difference_facts(self.difference), "best": self.best}  # fmt: skip


@dataclass(frozen=True, repr=False)
class LayerTable(ShownTable):
    """One row for each task, model and layer, the last layer first; empty where no model has two layers."""

    probe: str
    values: tuple[OfLayer, ...]

    @property
    def title(self) -> str:
        """What the table shows."""
        return f"Layers, {self.probe} probe"

    def columns(self) -> list[str]:
        """Names of the columns."""
        return ["task", "metric", "model", "layer", "value", "interval", "to the last", "its interval", "mark", "space"]

    def lesser(self) -> set[str]:
        """All but the names, the values and the mark."""
        return {"metric", "interval", "its interval", "space"}

    def rows(self) -> list[list[str]]:
        """Task by task."""
        return [value.cells() for value in self.values]

    def facts(self) -> list[str]:
        """How layers are counted, and what the mark is worth."""
        return [
            "layer: counted from the end, 0 is the last; to the last: the difference, paired over tested proteins",
            "best: the highest value of the tested proteins themselves, so it is a little too high for new proteins; "
            "a best layer whose difference's interval holds 0 is not told apart from the last",
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain values only."""
        return {"probe": self.probe, "values": [value.to_json() for value in self.values]}


def layer_table(results: pa.Table | Estimates, probe: str = "linear") -> LayerTable:
    """Make the table of one probe from rows of the schema EVALUATIONS."""
    found = Estimates.read(results)
    families = _families(found.subjects)
    values = [v for task in found.tasks for name, f in families.items() for v in _of_task(found, task, name, f, probe)]
    return LayerTable(probe, tuple(values))


def layers_of(given: InputFacts) -> tuple[int, ...]:
    """The layers of a space's recipe, counted from the end; () where it has no recipe."""
    return tuple(given.recipe.get("layers", ()))


def _families(subjects: Sequence[InputFacts]) -> dict[str, list[InputFacts]]:
    """Two or more spaces of one model and pooling whose recipes are equal but for the layers, the last layer first.

    They are called by model and pooling; where recipes of one model differ in something else, by their first space too.
    """
    families: dict[tuple[str, str, str], list[InputFacts]] = {}
    for given in sorted((s for s in subjects if layers_of(s)), key=layers_of):
        rest = {name: value for name, value in given.recipe.items() if name not in _NOT_COMPARED}
        families.setdefault((given.model, given.pooling, canonical_json(rest)), []).append(given)
    several = [family for family in families.values() if len({layers_of(given) for given in family}) > 1]
    names = [f"{family[0].model}, {family[0].pooling}" for family in several]
    return {
        name if names.count(name) == 1 else f"{name}, as in {family[0].name}": family
        for name, family in zip(names, several, strict=True)
    }


def _of_task(
    found: Estimates, task: TaskFacts, model: str, family: Sequence[InputFacts], probe: str
) -> Iterator[OfLayer]:
    there = {given: e for given in family if (e := found.find(task, given, probe)) is not None}
    if len(there) < 2:
        return
    best = max(there, key=lambda given: there[given].value)
    last = next((e for given, e in there.items() if layers_of(given) == (0,)), None)
    for given, reached in there.items():
        difference = None if last is None or reached is last else reached.minus(last)
        yield OfLayer(task, model, given, layers_of(given), reached, difference, given == best)
