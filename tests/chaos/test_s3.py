"""Row 6, and the last part of row 9: S3 that refuses, breaks connections, lies about manifests, or is gone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import stores
from tests.chaos import runs
from tests.chaos.rows import Ledger
from tests.chaos.runs import Bench, Head
from tests.chaos.s3 import BUCKET, S3, Faults

pytestmark = [pytest.mark.chaos, pytest.mark.xdist_group("s3")]

FAULTS = {
    "503 to 10 % of requests": Faults(error_503=0.1, seed=1),
    "503 to 30 %": Faults(error_503=0.3, seed=2),
    "503 to 50 %": Faults(error_503=0.5, seed=3),
    "500 to 20 %": Faults(error_500=0.2, seed=4),
    "10 % of connections reset": Faults(resets=0.1, seed=5),
    "manifests taken, and 500 said": Faults(applied_500=0.5, seed=6),
}
READS = {
    "status": ("status", "--json"),
    "where": ("query", "--where", "length > 100", "--json"),
    "nearest": ("query", "--nearest", "SYN000001", "-k", "5", "--json"),
    "verify": ("verify", "--json"),
}
ROUNDS = 1  # of all reads; at 50 % each takes a quarter of a minute


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with S3() as running:
        yield running


@pytest.fixture(scope="module")
def cloud(bench: Bench, s3: S3) -> Iterator[Head]:
    """A head whose driver and workers know only the S3 that fails."""
    with Head(bench, **s3.environment) as running:
        yield running


@pytest.mark.row(6)
@pytest.mark.parametrize("broken", FAULTS)
def test_a_run_and_reads_on_s3_that_fails(
    broken: str, cloud: Head, s3: S3, reference: Path, tmp_path: Path, ledger: Ledger
) -> None:
    """Exact, or one clean error and exact after the same command; reads give the right answer or a clean error."""
    name = f"row6-{FAULTS[broken].seed}"
    store = f"s3://{BUCKET}/{name}"
    with ledger.row(6, broken) as row:
        s3.fail(FAULTS[broken])
        first = cloud.run(*cloud.bench.arguments(store))
        row.times = s3.fail(Faults())
        assert row.times, "nothing failed, so nothing was shown"
        if first["code"]:
            assert_clean(first)
            cloud.embed(store)
        copied = s3.copy(name, tmp_path / "store")
        row.expected, row.found = len(stores.vectors(reference)), runs.assert_same(copied, reference)
        row.redone = runs.redone(stores.space(copied))
        refused, struck = read_all(cloud, s3, store, FAULTS[broken])
        row.times += struck
    how = "after one error" if first["code"] else "at once"
    row.notes.append(f"{broken}: exact {how}, {refused} of {ROUNDS * len(READS)} reads refused")


def assert_clean(done: dict[str, Any]) -> None:
    """One of the package's own errors, and in it what to do."""
    assert done["code"] == 1, done["error"]
    assert "Traceback" not in done["error"]
    assert len(done["error"]) < 2500


def read_all(cloud: Head, s3: S3, store: str, faults: Faults) -> tuple[int, int]:
    """How many reads ended with an error, and how many requests were struck; an answer must be the right one."""
    right = {name: cloud.run(command[0], store, *command[1:]) for name, command in READS.items()}
    assert all(done["code"] == 0 for done in right.values()), right
    s3.fail(replace(faults, seed=faults.seed + 100))
    refused = 0
    for _ in range(ROUNDS):
        for name, command in READS.items():
            done = cloud.run(command[0], store, *command[1:])
            if done["code"]:
                assert_clean(done)
                refused += 1
            else:
                assert done["out"] == right[name]["out"], name
    return refused, s3.fail(Faults())


@pytest.mark.row(9)
def test_the_bucket_vanishes(cloud: Head, s3: S3, reference: Path, tmp_path: Path, ledger: Ledger) -> None:
    """Under a run that has committed something; later it is back, with what was committed."""
    store = f"s3://{BUCKET}/row9"
    with ledger.row(9, "the bucket vanished under a run") as row:
        process = cloud.driver(store, beside=tmp_path / "driver")
        end = time.monotonic() + 200
        while len([n for n in s3.names("row9") if "/esm2-" in n and n.endswith(".manifest")]) < 3:
            assert process.poll() is None and time.monotonic() < end, runs.log_of(tmp_path / "driver")
            time.sleep(0.02)
        s3.vanish()
        runs.finish(process, tmp_path / "driver", 1)
        said = runs.log_of(tmp_path / "driver")
        assert [line.startswith("error: ") for line in said.splitlines()].count(True) == 1, said
        # the answer to a read of one object does not name the bucket, that to any other request does
        named = "NoSuchBucket" in said and "make the bucket, or correct its name" in said
        assert named or ("Not found: row9/" in said and "look whether the bucket or folder is still there" in said)
        assert "Traceback" not in said
        gone = cloud.run("status", store, "--json")
        assert_clean(gone)
        assert "NoSuchBucket" in gone["error"]
        s3.come_back()
        found, expected = stores.vectors(s3.copy("row9", tmp_path / "left")), stores.vectors(reference)
        assert found
        for key, vector in found.items():
            np.testing.assert_array_equal(vector, expected[key])
        cloud.embed(store)
        copied = s3.copy("row9", tmp_path / "store")
        row.times, row.expected, row.found = 1, len(expected), runs.assert_same(copied, reference)
        row.redone = runs.redone(stores.space(copied))
