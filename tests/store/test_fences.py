"""Whoever takes the lease of a holder that did not leave in order fences every table first."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import pytest

from protea_ray.errors import StoreError
from protea_ray.sequences.records import PROTEINS_SCHEMA
from protea_ray.store import lease as leases
from protea_ray.store import retries
from protea_ray.store.lease import Lease, this_process
from protea_ray.store.location import Location, open_location
from protea_ray.store.tables import ensure_table, open_table
from tests.store import rich
from tests.store.test_lease import put, record


@pytest.fixture
def location(tmp_path: Path) -> Location:
    return open_location(tmp_path / "s")


TABLES = ["proteins", "rejects", "sources", "runs", "aliases", *rich.SPACES, "notes"]


@pytest.mark.parametrize("left", ["abandoned", "overdue", "no record", "no table"])
def test_every_table_is_fenced_after_a_holder_that_did_not_leave_in_order(rich_location: Location, left: str) -> None:
    """Each by itself: an append that the earlier holder prepared must fail in all of them."""
    before, location = this_process(time.time() - 100, 30.0), rich_location
    lance.write_dataset(pa.table({"note": ["x"]}), location.table("notes"))  # of another program
    match left:
        case "abandoned":
            put(location, replace(before, state="abandoned"))
        case "overdue":
            put(location, before)
        case _:
            shutil.rmtree(location.table("lease"))
            if left == "no record":
                ensure_table(location.table("lease"), leases._SCHEMA)
    at = rich.versions(location)
    Lease.acquire(location, 30.0).release()
    assert rich.versions(location) == {name: at[name] + 1 for name in TABLES}
    Lease.acquire(location, 30.0).release()
    assert rich.versions(location) == {name: at[name] + 1 for name in TABLES}


@pytest.mark.parametrize(("state", "fences"), [("abandoned", 1), ("held", 1), ("released", 0)])
def test_a_lost_answer_does_not_hide_how_the_holder_before_left(
    location: Location, monkeypatch: pytest.MonkeyPatch, state: str, fences: int
) -> None:
    """The second attempt finds its own record; what it replaced is known from the first."""
    monkeypatch.setattr(retries, "PAUSES", (0.0, 0.0))
    put(location, replace(this_process(time.time() - 100, 30.0), state=state))
    ensure_table(location.table("proteins"), PROTEINS_SCHEMA)
    version = open_table(location.table("proteins")).version
    real, calls = lance.LanceDataset.update_config, []

    def losing(self: lance.LanceDataset, *args: Any, **kwargs: Any) -> Any:
        real(self, *args, **kwargs)
        calls.append(1)
        if len(calls) == 1:
            raise OSError("connection reset")

    monkeypatch.setattr(lance.LanceDataset, "update_config", losing)
    Lease.acquire(location, 30.0).release()
    assert open_table(location.table("proteins")).version == version + fences


def test_a_lease_that_cannot_fence_is_given_back(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    put(location, replace(this_process(time.time(), 30.0), state="abandoned"))

    def refuse(_: Location) -> None:
        raise StoreError("cannot be fenced")

    monkeypatch.setattr(leases, "fence_tables", refuse)
    with pytest.raises(StoreError, match="cannot be fenced"):
        Lease.acquire(location, 30.0)
    assert record(location).state == "abandoned"  # whoever comes next fences
