"""The Ray data set: proteins with their own vectors and labels, from the pinned versions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from protea_ray.errors import ConfigError
from protea_ray.query.reader import Store
from protea_ray.query.training import ray_dataset
from protea_ray.query.training.examples import find_examples
from tests.query.training import helpers
from tests.store import build


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return helpers.make(tmp_path_factory.mktemp("ray"), 200, with_residues=True)


def test_a_task_stays_within_a_fragment(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_dataset, "ROWS_OF_ONE_TASK", 15)
    examples, _ = find_examples(store.view(), None, None)
    parts = ray_dataset.parts(examples)
    assert [p.stop - p.start for p in parts] == [15, 15, 10] * 5
    assert all(len(set(examples.vectors[p] >> np.uint64(32))) == 1 for p in parts)


@pytest.mark.usefixtures("cluster")
def test_everything_joined_from_the_pin(store: Store) -> None:
    pin = store.pin()
    read = store.dataset(pin, columns=["id", "length", "mean"], labels=helpers.labels(range(0, 200, 2)))
    assert read.name == f"{pin.space}@{pin.version}"
    batch = next(iter(read.iter_batches(batch_size=None, batch_format="numpy")))
    assert batch["mean"].shape == (20, build.WIDTH)
    rows = read.take_all()
    assert sorted(r["id"] for r in rows) == [f"P{n:05d}" for n in range(0, 200, 2)]
    for row in rows:
        number = helpers.number(row["id"])
        assert np.array_equal(row["mean"], build.vector(number))
        assert (row["label"], row["length"]) == (number % 7, len(build.sequence(number)))


@pytest.mark.usefixtures("cluster")
def test_a_filter_and_an_older_version(store: Store, tmp_path: Path) -> None:
    growing = helpers.make(tmp_path, 20)
    version = growing.pin().version
    helpers.grow(growing, 20, 10)
    assert growing.dataset(columns=["id"]).count() == 30
    assert growing.dataset(columns=["id"], version=version).count() == 20
    assert growing.dataset(columns=["id"], where="id > 'P00024'").count() == 5
    with pytest.raises(ConfigError, match="no protein of the store passes"):
        growing.dataset(where="id = 'nobody'")


def test_residues_are_referred_to_the_torch_data_set(store: Store) -> None:
    with pytest.raises(ConfigError, match=r"use store\.torch"):
        store.dataset(columns=["residues"])
