"""`protea-ray evaluate`: how its options are read, and that mistakes end it before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from protea_ray.cli.evaluate import chosen, listed, run_options
from protea_ray.errors import ConfigError
from tests.commands import call
from tests.store import build


def test_lists_are_written_with_commas_or_repeated(tmp_path: Path) -> None:
    assert listed(["a,b:max", "c@7", " d , "]) == ["a", "b:max", "c@7", "d"]


def test_a_path_that_has_a_comma_is_one(tmp_path: Path) -> None:
    path = tmp_path / "one,two.csv"
    assert listed([str(path)]) != [str(path)], "it is not there"
    path.touch()
    assert listed([str(path), f"{path}:regression", "go-mf,go-cc"]) == [
        str(path), f"{path}:regression", "go-mf", "go-cc"
    ]  # fmt: skip


@pytest.mark.parametrize(("given", "expected"), [(None, ["x", "y"]), ("none", []), ("x", ["x"]), ("y,x", ["y", "x"])])
def test_controls_are_all_or_those_that_are_named(given: str | None, expected: list[str]) -> None:
    assert chosen(given, ("x", "y")) == expected


def test_options_of_the_run_are_taken_and_those_of_a_recipe_are_not() -> None:
    options = run_options(["run.device=cpu"], "10.0.0.1:6379")
    assert (options.device, options.address) == ("cpu", "10.0.0.1:6379")
    with pytest.raises(ConfigError, match="evaluate takes fields of run alone"):
        run_options(["layers=3"], None)
    with pytest.raises(ConfigError, match=r"run\.devise"):
        run_options(["run.devise=cpu"], None)


def test_mistakes_are_exit_code_2_and_name_what_there_is(tmp_path: Path) -> None:
    store = build.store(tmp_path)
    done = call("evaluate", store.uri, "--tasks", "localisation", "--spaces", "esm2-1", "--controls", "compositon")
    assert done.returncode == 2
    assert done.stdout == ""
    for part in ("did you mean composition?", "spaces: esm2-00000001", "did you mean localization?"):
        assert part in done.stderr
    assert call("evaluate", store.uri).returncode == 2
    assert "tasks: name at least one" in call("evaluate", store.uri).stderr


def test_a_file_of_outcomes_that_no_labels_are_read_from_is_refused_before_ray(tmp_path: Path) -> None:
    store = build.store(tmp_path / "store")
    labels = tmp_path / "labels.csv"
    labels.write_text("id,target\n" + "".join(f"P{n:05d},{'ab'[n % 2]}\n" for n in range(20)))
    done = call("evaluate", store.uri, "--tasks", labels, "--controls", "compositon", "--outcomes", tmp_path / "o.txt")
    assert done.returncode == 2
    for part in ("o.txt: labels have one of the endings .parquet, .csv, .tsv", "did you mean composition?"):
        assert part in done.stderr
    assert "Ray" not in done.stderr
    assert not (tmp_path / "o.txt").exists()


def test_a_store_that_is_not_there_is_said(tmp_path: Path) -> None:
    done = call("evaluate", tmp_path / "none", "--tasks", "localization")
    assert done.returncode == 1
    assert "there is no store" in done.stderr
