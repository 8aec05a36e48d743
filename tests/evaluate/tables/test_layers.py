"""Which layer is best: spaces whose recipes are equal but for the layers, and no others."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from protea_ray.evaluate.tables.layers import layer_table
from tests.evaluate.tables import made

SECOND = made.second_layer()
THIRD = replace(SECOND, name="small-third", recipe={**made.RECIPE, "layers": [2]})


def rows(values: dict[made.Given, float], task: str = "localization") -> pa.Table:
    return made.rows(task, "classification", {given: {"macro_f1": v} for given, v in values.items()})


def test_layers_of_one_model_stand_together_the_last_first_the_best_marked() -> None:
    found = layer_table(rows({THIRD: 0.3, SECOND: 0.476, made.SMALL: 0.467, made.UNTRAINED: 0.33}))
    assert [(v.layers, v.best) for v in found.values] == [((0,), False), ((1,), True), ((2,), False)]
    assert [v.difference.value if v.difference else None for v in found.values] == [
        None, pytest.approx(0.009), pytest.approx(-0.167),
    ]  # fmt: skip
    row = found.rows()[1]
    assert row[:5] == ["localization", "macro_f1", "small, mean", "1", "0.476 ± 0.002"]
    assert (row[6], row[8], row[9]) == ("+0.009", "best", "small-5e6f7a8b")


def test_each_task_has_its_own_best() -> None:
    both = pa.concat_tables([rows({made.SMALL: 0.5, SECOND: 0.4}, "a"), rows({made.SMALL: 0.4, SECOND: 0.5}, "b")])
    assert [(v.task.name, v.layers) for v in layer_table(both).values if v.best] == [("a", (0,)), ("b", (1,))]


@pytest.mark.parametrize(
    "other",
    [
        replace(SECOND, model="large"),
        replace(SECOND, pooling="max"),
        replace(SECOND, recipe={**made.RECIPE, "layers": [1], "normalize": False}),
        replace(SECOND, recipe={}),
        replace(SECOND, recipe=made.RECIPE),
        replace(SECOND, control="untrained"),
    ],
    ids=["model", "pooling", "recipe", "no recipe", "the same layer", "a control"],
)
def test_nothing_else_may_differ(other: made.Given) -> None:
    assert layer_table(rows({made.SMALL: 0.4, other: 0.5})).rows() == []


def test_the_other_poolings_of_a_recipe_do_not_matter() -> None:
    recipe = {**made.RECIPE, "layers": [1], "pooling": ["mean", "max"], "layer_agg": "concat"}
    assert len(layer_table(rows({made.SMALL: 0.4, replace(SECOND, recipe=recipe): 0.5})).rows()) == 2


def test_two_recipes_of_one_model_are_two_comparisons_with_two_names() -> None:
    raw = {**made.RECIPE, "normalize": False}
    one, two = (made.Given(f"raw-{n}", recipe={**raw, "layers": [n]}) for n in (0, 1))
    found = layer_table(rows({made.SMALL: 0.4, SECOND: 0.5, one: 0.6, two: 0.7}))
    assert {v.model for v in found.values} == {"small, mean, as in small-1a2b3c4d", "small, mean, as in raw-0"}
    assert [v.given.name for v in found.values if v.best] == [two.name, SECOND.name]


def test_without_the_last_layer_there_is_a_best_and_no_difference() -> None:
    found = layer_table(rows({SECOND: 0.4, THIRD: 0.5}))
    assert [(v.best, v.difference) for v in found.values] == [(False, None), (True, None)]
    assert found.to_json()["values"][1]["layers"] == [2]
