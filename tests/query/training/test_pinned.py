"""A pinned training job reads the same batches however the store grows beside it."""

from __future__ import annotations

import threading
from pathlib import Path

from protea_ray.query.view import Pin
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
