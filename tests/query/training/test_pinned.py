"""A pinned training job reads the same batches however the store grows beside it."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from itertools import islice
from pathlib import Path

import pytest

from protea_ray.errors import ConfigError
from protea_ray.query.view import Pin
from protea_ray.store.upkeep import upkeep
from tests.query.training import helpers


def test_trained_twice_while_the_store_grows_identical_batch_by_batch(tmp_path: Path) -> None:
    store = helpers.make(tmp_path, 300)
    labels = helpers.labels(range(0, 2000, 2))  # also of proteins that are still to come
    first = store.torch(labels=labels, batch_size=16, shuffle=True, seed=7)
    recorded = first.pin.to_json()
    stop, grown = threading.Event(), []

    def append() -> None:
        while not stop.is_set():
            helpers.grow(store, 300 + 20 * len(grown), 20)
            grown.append(20)

    writer = threading.Thread(target=append)
    writer.start()
    try:
        once = [list(first) for _ in range(3)]
        while len(grown) < 2:  # at least two commits lie between the two trainings
            stop.wait(0.02)
        second = store.torch(Pin(**recorded), labels=labels, batch_size=16, shuffle=True, seed=7)
        twice = [list(second) for _ in range(3)]
    finally:
        stop.set()
        writer.join()
    assert all(helpers.same(a, b) for a, b in zip(once, twice, strict=True))
    assert len(helpers.ids(once[0])) == 150
    now = store.torch(labels=labels, batch_size=16, shuffle=True, seed=7)
    assert len(now.examples) == 150 + sum(grown) // 2
    assert now.pin != first.pin
    assert now.report != first.report


def test_a_pinned_epoch_is_resumed_after_the_store_grew_and_was_tended(tmp_path: Path) -> None:
    store = helpers.make(tmp_path, 200)
    store.pin(keep="train-v1")
    options = {"labels": helpers.labels(range(0, 400, 2)), "batch_size": 16, "shuffle": True, "seed": 3}
    whole = list(store.torch("train-v1", **options))  # type: ignore[arg-type]
    broken = store.torch("train-v1", **options)  # type: ignore[arg-type]
    taken = list(islice(broken, 3))
    state = json.loads(json.dumps(broken.state_dict()))

    helpers.grow(store, 200, 50)
    upkeep(store.location, keep=timedelta(0))
    helpers.grow(store, 250, 50)

    for pin in ("train-v1", Pin.from_json(state["pin"])):
        resumed = store.torch(pin, **options)  # type: ignore[arg-type]
        resumed.load_state_dict(state)
        assert helpers.same(taken + list(resumed), whole)
    with pytest.raises(ConfigError, match=r"examples was 100, is 150[\s\S]*Go on with store\.torch\(Pin\.from_json"):
        store.torch(**options).load_state_dict(state)  # type: ignore[arg-type]


def test_the_same_examples_are_resumed_wherever_their_rows_lie(tmp_path: Path) -> None:
    store = helpers.make(tmp_path, 200)
    options = {"labels": helpers.labels(range(100)), "batch_size": 16, "shuffle": True, "seed": 3}
    broken = store.torch(**options)  # type: ignore[arg-type]
    taken = list(islice(broken, 3))
    state = broken.state_dict()
    helpers.grow(store, 200, 50)
    upkeep(store.location, keep=timedelta(0))

    resumed = store.torch(**options)  # type: ignore[arg-type]
    assert resumed.examples.digest != broken.examples.digest  # other rows
    resumed.load_state_dict(state)

    assert len(helpers.ids(taken + list(resumed))) == 100
    assert resumed.epoch == 1
    relabelled = helpers.labels(range(100)).to_pandas().assign(label=9)
    for labels in (helpers.labels(range(1, 101)), relabelled):
        other = store.torch(**{**options, "labels": labels})  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="content was"):
            other.load_state_dict(state)


def test_a_state_of_an_earlier_version_is_loaded_where_nothing_moved(tmp_path: Path) -> None:
    store = helpers.make(tmp_path, 50)
    data = store.torch(batch_size=16, seed=3)
    state = data.state_dict()
    reads = {name: value for name, value in state["reads"].items() if name != "content"}
    earlier = {**{n: v for n, v in state.items() if n != "pin"}, "reads": {**reads, "digest": data.examples.digest}}
    store.torch(batch_size=16, seed=3).load_state_dict(earlier)
    helpers.grow(store, 50, 5)
    with pytest.raises(ConfigError, match="version was 3, is 4"):
        store.torch(batch_size=16, seed=3).load_state_dict(earlier)
