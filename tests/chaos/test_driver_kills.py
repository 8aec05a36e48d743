"""Row 3: SIGKILL of the driver at named points, then the same command once."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from protea_ray.store.lease import Lease
from protea_ray.store.location import open_location
from tests import stores
from tests.chaos import runs
from tests.chaos.faults import Fault
from tests.chaos.rows import Ledger, Row
from tests.chaos.runs import Bench, Head

pytestmark = [pytest.mark.chaos, pytest.mark.row(3)]

COMMIT = {"module": "lance", "attribute": "LanceDataset.commit", "do": "kill"}
UNITS_IN_FLIGHT = 3 + 2 * 3  # of a commit group, and 3 at each of 2 actors


def committing(table: str, nth: int, when: str) -> Fault:
    """The driver dies at its `nth` commit to a table. The first one creates the table, unless a worker did."""
    return {**COMMIT, "match": table, "nth": nth, "when": when}


POINTS: dict[str, list[Fault]] = {
    "before commit": [committing("/esm2-", nth, "before") for nth in range(1, 6)],
    "after commit": [committing("/esm2-", nth, "after") for nth in range(1, 6)],
    "while ingesting": [
        committing("/rejects.lance", 1, "before"),
        committing("/rejects.lance", 1, "after"),
        committing("/proteins.lance", 1, "after"),
        committing("/sources.lance", 1, "after"),
        committing("/sources.lance", 2, "before"),
    ],
    "while an alias moves": [
        committing("/aliases.lance", 1, "before"),
        committing("/aliases.lance", 1, "after"),
        committing("/aliases.lance", 2, "before"),
        committing("/aliases.lance", 2, "after"),
        {**COMMIT, "module": "protea_ray.store.commit", "attribute": "Writer.append_table", "match": "/aliases.lance"},
    ],
}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("point", POINTS)
def test_the_driver_dies_at_a_named_point(
    point: str, seed: int, head: Head, reference: Path, tmp_path: Path, ledger: Ledger
) -> None:
    with ledger.row(3, point) as row:
        store = tmp_path / "store"
        process = head.driver(store, faults=[POINTS[point][seed]])
        runs.finish(process, store, -signal.SIGKILL)
        resumed(store, head, reference, row)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("when", ["before", "after"])
def test_the_driver_dies_when_a_worker_writes(
    when: str, seed: int, head: Head, reference: Path, tmp_path: Path, ledger: Ledger
) -> None:
    """The worker lives on for a moment: its file becomes whole, and nobody may ever name it."""
    store = tmp_path / "store"
    fault = {
        "module": "protea_ray.pipeline.worker", "attribute": "write_fragments", "when": when, "do": "kill_driver",
        "nth": random.Random(seed).randrange(1, 12), "file": str(store.with_suffix(".pid")),
    }  # fmt: skip
    with ledger.row(3, f"{when} write") as row:
        process = head.driver(store, worker_faults=[fault])
        runs.finish(process, store, -signal.SIGKILL)
        resumed(store, head, reference, row)


def resumed(store: Path, head: Head, reference: Path, row: Row) -> None:
    """One resume: everything once and equal, and no more done twice than was in flight."""
    again = head.embed(store)
    row.times += 1
    row.expected += len(stores.vectors(reference))
    row.found += runs.assert_same(store, reference)
    lost = runs.redone(stores.space(store))
    row.redone += lost
    assert lost <= UNITS_IN_FLIGHT * runs.largest_unit(stores.space(store))
    assert again["in"] == again["stored"] + again["duplicate"] + again["rejected"] + again["already_present"]


OPTIMIZER = {"module": "lance.dataset", "attribute": "DatasetOptimizer.compact_files", "do": "kill"}
CLEANUP = {"module": "lance", "attribute": "LanceDataset.cleanup_old_versions", "do": "kill"}
TEND = """
import sys
from datetime import timedelta
from protea_ray.store.location import open_location
from protea_ray.store.upkeep import upkeep
upkeep(open_location(sys.argv[1]), keep=timedelta(0))
"""


@pytest.mark.parametrize(
    "fault",
    [
        {**OPTIMIZER, "nth": 2, "when": "after"},  # compacted, nothing removed yet
        {**OPTIMIZER, "nth": 4, "when": "before"},
        {**CLEANUP, "nth": 2, "when": "before"},
        {**CLEANUP, "nth": 3, "when": "after"},
        {"module": "lance", "attribute": "LanceDataset.commit", "nth": 1, "when": "after", "do": "kill"},  # its fence
    ],
    ids=lambda fault: f"{fault['attribute'].split('.')[-1]}-{fault['nth']}-{fault['when']}",
)
def test_upkeep_dies(fault: Fault, bench: Bench, reference: Path, tmp_path: Path, ledger: Ledger) -> None:
    """The same upkeep again ends with one fragment a table, no file that nobody names, and the same rows."""
    store = tmp_path / "store"
    shutil.copytree(reference, store)
    abandon(store)
    with ledger.row(3, "in upkeep") as row:
        assert tend(store, bench, [fault]).returncode == -signal.SIGKILL
        found = runs.assert_same(store, reference)
        assert tend(store, bench, []).returncode == 0
        row.times, row.expected = 1, len(stores.vectors(reference))
        row.found = min(found, runs.assert_same(store, reference))
        row.redone = runs.redone(stores.space(store))
        assert row.redone == 0
        assert len(list((stores.space(store) / "data").glob("*"))) == 1


def abandon(store: Path) -> None:
    """Leave the store as a driver does that did not end in good order, so that the next one fences."""
    lease = Lease.acquire(open_location(store), 30.0)
    lease.release(in_order=False)


def tend(store: Path, bench: Bench, faults: list[Fault]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", TEND, str(store)]
    environment = bench.environment(toy=True, faults=faults)
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
