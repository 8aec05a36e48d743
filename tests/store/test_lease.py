"""One driver at a time: races, deaths, and a holder that comes back too late."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lance
import pytest

from protea_ray.errors import LeaseHeldError, LeaseLostError
from protea_ray.sequences.records import PROTEINS_SCHEMA
from protea_ray.store import lease as leases
from protea_ray.store import retries
from protea_ray.store.commit import Writer, write_fragments
from protea_ray.store.lease import Holder, Lease, process_start, read_record, this_process
from protea_ray.store.location import Location, open_location
from protea_ray.store.tables import count_rows, ensure_table, open_table
from tests.store import build


@pytest.fixture
def location(tmp_path: Path) -> Location:
    return open_location(tmp_path / "s")


def put(location: Location, holder: Holder) -> None:
    """Write a record as its holder would have."""
    ensure_table(location.table("lease"), leases._SCHEMA)
    open_table(location.table("lease")).update_config({leases._RECORD: holder.to_json()})


def record(location: Location) -> Holder:
    found = read_record(open_table(location.table("lease")))
    assert found is not None
    return found


def later(seconds: float) -> Callable[[], float]:
    return lambda: time.time() + seconds


def test_the_holder_is_named_to_the_second(location: Location) -> None:
    with Lease.acquire(location, 30.0) as lease:
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(lease.holder.since))
        with pytest.raises(LeaseHeldError) as caught:
            Lease.acquire(location, 30.0)
    message = str(caught.value)
    assert f"process {os.getpid()} on {lease.holder.host}, since {since}, last heartbeat 0 s ago" in message
    assert location.uri in message
    with Lease.acquire(location, 30.0) as lease:
        lease.check()


def race(uri: str, barrier: Any, results: Any, rounds: int) -> None:
    """One of two processes: all start at once, the winner lets go when both have seen the outcome."""
    location = open_location(uri)
    for number in range(rounds):
        barrier.wait(60)
        try:
            lease = Lease.acquire(location, 30.0)
            results.put((number, "won"))
            barrier.wait(60)
            lease.release()
        except LeaseHeldError as error:
            results.put((number, str(error)))
            barrier.wait(60)


def test_of_two_processes_at_a_barrier_exactly_one_gets_it(location: Location) -> None:
    rounds, context = 20, multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    racers = [context.Process(target=race, args=(location.uri, barrier, results, rounds)) for _ in range(2)]
    for racer in racers:
        racer.start()
    seen = [results.get(timeout=60) for _ in range(2 * rounds)]
    for racer in racers:
        racer.join(30)
    for number in range(rounds):
        won, lost = sorted((text for n, text in seen if n == number), key=lambda t: t != "won")
        assert won == "won"
        assert re.search(r"process \d+ on .*, since .* UTC", lost)


DIES = """
import os, sys, time
from protea_ray.store.lease import Lease
from protea_ray.store.location import open_location
lease = Lease.acquire(open_location(sys.argv[1]), 3600.0)
print("held", flush=True)
time.sleep(60)
"""


def test_a_killed_process_of_this_host_is_replaced_at_once(location: Location) -> None:
    Lease.acquire(location, 30.0).release()
    ensure_table(location.table("proteins"), PROTEINS_SCHEMA)
    version = open_table(location.table("proteins")).version
    with subprocess.Popen([sys.executable, "-c", DIES, location.uri], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(LeaseHeldError, match=f"process {child.pid} "):
            Lease.acquire(location, 3600.0)
        child.send_signal(signal.SIGKILL)
        while process_start(child.pid) is not None:  # dead, though not collected by us yet
            time.sleep(0.01)
        Lease.acquire(location, 3600.0).release()
        child.wait()
    assert open_table(location.table("proteins")).version == version + 1  # fenced
    Lease.acquire(location, 30.0).release()
    assert open_table(location.table("proteins")).version == version + 1  # left in good order: no fence


def test_a_recycled_pid_is_not_taken_for_alive(location: Location) -> None:
    ours = this_process(time.time(), 3600.0)
    put(location, ours)
    with pytest.raises(LeaseHeldError):
        Lease.acquire(location, 3600.0)
    put(location, replace(ours, started="another"))
    Lease.acquire(location, 3600.0).release()


@pytest.mark.parametrize("elsewhere", [{"host": "other"}, {"machine": "another boot"}])
def test_a_holder_elsewhere_keeps_it_until_its_heartbeat_expires(location: Location, elsewhere: dict[str, str]) -> None:
    put(location, replace(this_process(1000.0, 30.0), pid=2**22 + 1, **elsewhere))
    with pytest.raises(LeaseHeldError, match=r"last heartbeat 29 s ago.*free in 1 s"):
        Lease.acquire(location, 3600.0, now=lambda: 1029.0)
    with Lease.acquire(location, 3600.0, now=lambda: 1031.0) as lease:
        lease.check()


def test_a_heartbeat_keeps_the_lease(location: Location) -> None:
    with Lease.acquire(location, 0.6) as lease:
        first = lease.holder.heartbeat
        time.sleep(1.0)
        lease.check()
        assert record(location).heartbeat > first
        with pytest.raises(LeaseHeldError):
            Lease.acquire(location, 0.6)


def test_an_overdue_heartbeat_ends_the_holders_right_to_write(location: Location) -> None:
    clock = [1000.0]
    lease = Lease.acquire(location, 3600.0, now=lambda: clock[0])
    clock[0] += 3601.0
    with pytest.raises(LeaseLostError, match=r"could not renew.*3601 s"):
        lease.check()
    lease.release()


def test_a_replaced_holder_is_told_by_whom(location: Location) -> None:
    old = Lease.acquire(location, 30.0)
    new = Lease.acquire(location, 30.0, now=later(100))
    with pytest.raises(LeaseLostError, match=f"taken over by process {os.getpid()}"):
        old.check()
    old.release()
    assert record(location).token == new.holder.token
    new.check()
    new.release()


def test_a_holder_that_wakes_in_the_middle_of_a_commit_writes_nothing(location: Location) -> None:
    uri = location.table("proteins")
    old = Lease.acquire(location, 30.0)
    fragments = write_fragments(uri, build.proteins(range(5)), PROTEINS_SCHEMA)
    followers = []

    def suspended_after_the_check() -> None:
        old.check()
        followers.append(Lease.acquire(location, 30.0, now=later(100)))

    with pytest.raises(LeaseLostError):
        build.writer(suspended_after_the_check).append(uri, fragments)
    assert count_rows(uri) == 0
    Writer(followers[0]).append(uri, fragments)
    assert count_rows(uri) == 5
    followers[0].release()
    old.release()


def test_leaving_by_an_error_makes_the_next_holder_fence(location: Location) -> None:
    Lease.acquire(location, 30.0).release()
    ensure_table(location.table("proteins"), PROTEINS_SCHEMA)
    version = open_table(location.table("proteins")).version
    with pytest.raises(RuntimeError), Lease.acquire(location, 30.0):
        raise RuntimeError
    assert record(location).state == "abandoned"
    Lease.acquire(location, 30.0).release()
    assert open_table(location.table("proteins")).version == version + 1


def test_a_beat_after_the_lease_was_lost_writes_nothing(location: Location) -> None:
    old = Lease.acquire(location, 30.0)
    new = Lease.acquire(location, 30.0, now=later(100))
    version = open_table(location.table("lease")).version
    old._beat()
    assert open_table(location.table("lease")).version == version
    assert old._stop.is_set()
    new.release()
    assert record(location).state == "released"


def test_a_beat_moves_the_deadline_and_a_release_ends_the_right(location: Location) -> None:
    clock = [1000.0]
    lease = Lease.acquire(location, 300.0, now=lambda: clock[0])
    for clock[0] in (1250.0, 1500.0):
        lease._beat()
    clock[0] = 1800.0
    lease.check()  # exactly in time
    clock[0] = 1800.5
    with pytest.raises(LeaseLostError, match="could not renew"):
        lease.check()
    assert record(location).heartbeat == 1500.0
    assert record(location).since == 1000.0
    lease.release()


def test_heartbeats_do_not_pile_up_versions(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    with Lease.acquire(location, 3600.0) as lease:
        for _ in range(100):
            lease._beat()
        lease.check()
        kept = len(open_table(location.table("lease")).versions())
    assert kept <= leases._BEATS_PER_CLEANUP + leases._VERSIONS_KEPT


def test_lost_answers_do_not_lose_the_lease(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = lance.LanceDataset.update_config, []

    def losing(self: lance.LanceDataset, *args: Any, **kwargs: Any) -> Any:
        done = real(self, *args, **kwargs)
        calls.append(1)
        if len(calls) % 2:
            raise OSError("connection reset")
        return done

    monkeypatch.setattr(lance.LanceDataset, "update_config", losing)
    with Lease.acquire(location, 3600.0) as lease:
        for _ in range(5):
            lease._beat()
        lease.check()
    assert record(location).state == "released"


def test_a_process_does_not_wait_for_itself(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk was full, so the release could not be written; with space again the same notebook goes on."""
    monkeypatch.setattr(retries, "PAUSES", (0.0,))
    with monkeypatch.context() as full:

        def refuse(*_: Any) -> None:
            raise OSError("No space left on device")

        lease = Lease.acquire(location, 3600.0)
        full.setattr(lance.LanceDataset, "update_config", refuse)
        lease.release()
    assert record(location).state == "held"
    Lease.acquire(location, 3600.0).release()
