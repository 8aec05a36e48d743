"""run.yaml, --set and flags: how they are merged, and that every mistake of every part comes at once."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protea_ray.config import libraries
from protea_ray.config.run import load_fields, run_config
from protea_ray.errors import ConfigError
from tests.exchange.test_protea_config import VALUES


def problems(fields: dict) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        run_config(fields)
    return caught.value.problems


def test_one_recipe_and_the_defaults():
    made = run_config({"model": "m"})
    assert [recipe.model for recipe in made.recipes] == ["m"]
    assert made.run.device == "auto"
    assert made.run.window_proteins == 4096


def test_recipes_share_what_they_do_not_change():
    fields = {"model": "m", "layers": [0, 1], "recipes": [{}, {"layers": [2], "pooling": ["max"]}]}
    one, other = run_config(fields).recipes
    assert (one.layers, one.pooling) == ((0, 1), ("mean",))
    assert (other.layers, other.pooling) == ((2,), ("max",))


def test_mistakes_of_all_parts_come_at_once():
    found = problems(
        {
            "model": "m",
            "recipes": [{"layers": [-1]}, {"pooling": ["median"]}, 3],
            "run": {"actors": 0, "colour": 1},
        }
    )
    assert len(found) == 5
    starts = ("recipes[0]: layers", "recipes[1]: pooling", "recipes[2]", "run.actors", "unknown field 'run.colour'")
    assert [any(problem.startswith(start) for problem in found) for start in starts] == [True] * 5


def test_a_mistake_shared_by_recipes_is_told_once():
    assert len(problems({"model": "m", "run": 3})) == 1
    assert len(problems({"model": "m", "colour": 1})) == 1


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("model", ("a", "b")),
        ("dtype", ("float32", "bfloat16")),
        ("max_residues", (500, 600)),
        ("attention", ("exact", "local:9")),
        ("rope", ("none", "yarn:2")),
    ],
)
def test_one_pass_needs_one_model_and_one_arithmetic(field: str, values: tuple):
    (problem,) = problems({"model": "m", "recipes": [{field: value} for value in values]})
    assert f"recipes differ in {field}" in problem


def yaml_file(path: Path, text: str) -> str:
    file = path / "run.yaml"
    file.write_text(text)
    return str(file)


def test_later_sources_win(tmp_path: Path):
    file = yaml_file(tmp_path, "model: a\nlayers: [0, 1]\nrun: {actors: 1, limit: 5}\n")
    fields = load_fields(file, ["model=b", "run.actors=2"], {"run.actors": 3})
    assert fields == {"model": "b", "layers": [0, 1], "run": {"actors": 3, "limit": 5}}


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [("a=1", 1), ("a=[0, 1]", [0, 1]), ("a=null", None), ("a=x=y", "x=y"), ("a=", None), ("a='1'", "1")],
)
def test_values_of_set_are_yaml(assignment: str, expected: object):
    assert load_fields(None, [assignment], {}) == {"a": expected}


def test_mistakes_in_set_come_at_once():
    with pytest.raises(ConfigError) as caught:
        load_fields(None, ["actors", "=1", "a=[1", "b=1", "b.c=2"], {})
    assert len(caught.value.problems) == 4


def test_an_empty_file_sets_nothing(tmp_path: Path):
    assert load_fields(yaml_file(tmp_path, "# nothing\n"), [], {}) == {}


@pytest.mark.parametrize("text", ["[1, 2]", "text", "{1: 2}", "a: [", "!!python/object/apply:os.getcwd []"])
def test_a_file_that_is_no_configuration(tmp_path: Path, text: str):
    file = yaml_file(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_fields(file, [], {})
    assert file in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path):
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ConfigError, match=r"no such file|cannot be read"):
            load_fields(str(path), [], {})


NAMES = st.sampled_from(["layers", "pooling", "run", "dtype"]) | st.text(max_size=4)
RECIPES = st.lists(VALUES, max_size=3)


@given(st.dictionaries(NAMES, VALUES, max_size=4), RECIPES)
def test_only_typed_errors_from_fields(fields: dict, recipes: list):
    try:
        run_config({"model": "m", "recipes": recipes} | fields)
    except ConfigError as error:
        assert error.problems


@given(st.text(alphabet="ab:-[]{}&*!|>,?#\"' \n01=<", max_size=30) | st.text(max_size=20))
def test_only_typed_errors_from_text(text: str):
    try:
        run_config({"model": "m"} | load_fields(None, [f"run.{text}", f"layers={text}", text], {}))
    except ConfigError as error:
        assert error.problems


@pytest.mark.parametrize("recipes", [5, 1.5, True])
def test_recipes_that_are_no_list(recipes: object):
    assert "recipes" in problems({"model": "m", "recipes": recipes})[0]


@pytest.mark.parametrize(("written", "meant"), [("on", "on"), ("off", "off"), ("auto", "auto"), ("'on'", "on")])
def test_on_and_off_of_a_yaml_file_are_words(written: str, meant: str, tmp_path: Path):
    """YAML 1.1 reads them as true and false, which compile refused."""
    path = tmp_path / "run.yaml"
    path.write_text(f"model: a\nrun:\n  compile: {written}\n")
    assert run_config(load_fields(str(path), [], {})).run.compile == meant
    assert run_config(load_fields(None, [f"run.compile={written}"], {"model": "a"})).run.compile == meant


def test_a_checkout_that_is_not_installed_has_a_version(monkeypatch: pytest.MonkeyPatch):
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(libraries, "version", absent)
    assert libraries.versions(("protea-ray",)) == {"protea-ray": "checkout"}
    with pytest.raises(PackageNotFoundError):
        libraries.versions(("torch",))
