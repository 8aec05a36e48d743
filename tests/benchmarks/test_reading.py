"""The reading benchmark counts what it says it counts; its rates are for `python -m benchmarks.reading`."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.reading import ASKED, BATCH, load_all, load_quarter, look_up, make_store, scan_all
from protea_ray.store.location import open_location

ROWS = 10_000


@pytest.mark.filterwarnings("ignore::protea_ray.query.random_vectors.UntrainedSpaceWarning")  # its vectors are random
def test_every_task_reads_its_rows(tmp_path: Path) -> None:
    make_store(open_location(tmp_path / "s"), ROWS, 16)
    store = str(tmp_path / "s")
    assert scan_all(store)["rows"] == ROWS
    assert load_all(store)["rows"] == ROWS
    assert load_quarter(store)["rows"] == -(-ROWS // BATCH) // 4 * BATCH
    found = look_up(store)
    assert found["rows"] == ASKED
    assert found["peak_mb"] > 0
