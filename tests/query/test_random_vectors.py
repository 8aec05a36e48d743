"""Whoever reads vectors of a model that was never trained is told: once a space in Python, once a command."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from protea_ray.query import random_vectors
from protea_ray.query.drift import drift
from protea_ray.query.random_vectors import UntrainedSpaceWarning
from protea_ray.query.reader import Store, open_store
from protea_ray.query.view import View, is_trained
from protea_ray.store import aliases
from protea_ray.store.location import Location
from protea_ray.store.spaces import ensure_space
from tests.commands import call, call_json
from tests.store import build

TRAINED, RANDOM = "esm2-00000001", "fresh-00000002"


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> Location:
    """Twenty proteins in a trained and in an untrained space; `current` points to the untrained one."""
    place = build.store(tmp_path_factory.mktemp("random") / "s", with_residues=True)
    of = build.schema(build.WIDTH)
    ensure_space(place, build.info(RANDOM, trained=False, identity={"files": {}}), of)
    build.fill(place, RANDOM, range(20), "r2.0", of, with_residues=True)
    aliases.move(place, "current", RANDOM, run="r2", writer=build.writer())
    return place


@pytest.fixture(autouse=True)
def nobody_was_told() -> Iterator[None]:
    random_vectors._told.clear()
    yield
    random_vectors._told.clear()


READS: dict[str, Callable[[Store, Path], Any]] = {
    "get": lambda store, _: store.get("P00001"),
    "nearest": lambda store, _: store.nearest("P00001"),
    "to_arrow": lambda store, _: store.to_arrow(),
    "residues": lambda store, _: store.residues("P00001"),
    "export": lambda store, tmp: store.export(tmp / "x.parquet"),
    "torch": lambda store, _: store.torch(batch_size=4),
    "drift": lambda store, _: drift(store.location, TRAINED, RANDOM),
    "a pin": lambda store, _: View.open(store.location, View.open(store.location, "current").pin),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS.keys())
def test_python_is_warned_once_and_at_its_own_line(
    location: Location, tmp_path: Path, read: Callable[[Store, Path], Any]
) -> None:
    store = open_store(location.uri)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        read(store, tmp_path)
        read(store, tmp_path)
    (one,) = told
    assert (one.category, one.filename) == (UntrainedSpaceWarning, __file__)
    assert str(one.message) == (
        f"{RANDOM} is of m, which was never trained: its vectors are random and carry no biology. Trained here: "
        f"{TRAINED}; name one as space, or `protea-ray alias {location.uri} current {TRAINED}`."
    )


def test_trained_vectors_are_nothing_to_warn_of(location: Location) -> None:
    rows = open_store(location.uri).get("P00001", space=TRAINED)  # a warning would be an error here
    assert is_trained(rows)


def test_each_command_says_it_in_one_line(location: Location, tmp_path: Path) -> None:
    out = tmp_path / "x.parquet"
    commands = [
        ["query", location.uri, "--nearest", "P00001"],
        ["query", location.uri, "--id", "P00001"],
        ["export", location.uri, out],
        ["drift", location.uri, TRAINED, RANDOM],
        ["alias", location.uri, "mine", RANDOM],
        ["alias", location.uri, "mine", RANDOM, "--dry-run"],
    ]
    for command in commands:
        done = call(*command)
        assert done.returncode == 0, done.stderr
        (line,) = [line for line in done.stderr.splitlines() if "never trained" in line]
        assert line.startswith(f"warning: {RANDOM} is of m")
    for command in (["query", location.uri, "--id", "P00001", "--space", TRAINED], ["status", location.uri]):
        assert "never trained" not in call(*command).stderr


def test_programs_read_it_as_json(location: Location, tmp_path: Path) -> None:
    assert call_json("query", location.uri, "--id", "P00001")["trained"] is False
    assert call_json("query", location.uri, "--nearest", "P00001", "--space", TRAINED)["trained"] is True
    assert call_json("export", location.uri, tmp_path / "x.parquet")["trained"] is False
    both = call_json("drift", location.uri, TRAINED, RANDOM)
    assert (both["a"]["trained"], both["b"]["trained"]) == (True, False)
    assert [s["trained"] for s in json.loads(call("status", location.uri, "--json").stdout)["spaces"]] == [True, False]
