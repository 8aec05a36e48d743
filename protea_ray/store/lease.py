"""The lease: one driver writes a store at a time.

The lease is a Lance table without rows whose table config holds one JSON record: its holder, which is one process of
one machine, recognisable after its pid was given to another. Replacing the record is an UpdateConfig based on the
version that was read, and of two such updates from one version Lance takes one: a compare-and-swap, on a local disk
as on S3. Without it two drivers wrote 600 rows where there should have been 300.

A record keeps other drivers out while its heartbeat is in time, unless its process is a dead one of this machine. A
driver that takes the lease of a holder that did not release it in order first *fences* every table (see commit.py),
so that no earlier commit of that holder can land. A crash between any two steps leaves either the old record or the
new one, and neither was released in order, so the next holder fences again.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import lance
import pyarrow as pa

from protea_ray.errors import LeaseHeldError, LeaseLostError, StoreError
from protea_ray.store.commit import fence
from protea_ray.store.location import LEASE_TABLE, Location
from protea_ray.store.object_store_errors import message
from protea_ray.store.retries import with_retries
from protea_ray.store.tables import ensure_table, find_table, open_table

HELD, RELEASED, ABANDONED = "held", "released", "abandoned"
_RECORD = "protea.lease"
_SCHEMA = pa.schema([pa.field("unused", pa.int8())])
_BEATS_PER_TERM = 3  # two may be lost before the lease is
_BEATS_PER_CLEANUP = 20
_released: set[str] = set()  # tokens of leases that this process released, also where a full disk took no record
_VERSIONS_KEPT = 8  # a reader that listed the latest version may still be about to open it


@dataclass(frozen=True)
class Holder:
    """The lease's record. Times are seconds since the epoch; `seconds` is how long one heartbeat is good for."""

    state: str
    token: str
    host: str
    machine: str  # boot and pid namespace: where `pid` means something
    pid: int
    started: str  # when the process started, in its system's own words
    since: float
    heartbeat: float
    seconds: float

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Holder:
        return cls(**json.loads(text))

    def blocks(self, now: float) -> bool:
        """Whether this record keeps others out: held, in time, and not by a dead process of this machine."""
        return self.state == HELD and now - self.heartbeat <= self.seconds and not self.is_dead()

    def is_dead(self) -> bool:
        """Whether the holder is a process of this machine that has ended. False for processes of other machines."""
        if (self.host, self.machine) != (socket.gethostname(), machine()):
            return False
        alive = process_start(self.pid)
        return alive is None or (bool(self.started and alive) and alive != self.started)

    def describe(self, now: float) -> str:
        """Host, process, when it took the lease, and age of the last heartbeat, in words."""
        since = datetime.fromtimestamp(self.since, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        age = max(0, round(now - self.heartbeat))
        return f"process {self.pid} on {self.host}, since {since}, last heartbeat {age} s ago"


def this_process(now: float, seconds: float) -> Holder:
    """Make a record of this process, with a fresh token. `now`: seconds since the epoch."""
    return Holder(
        state=HELD,
        token=uuid.uuid4().hex,
        host=socket.gethostname(),
        machine=machine(),
        pid=os.getpid(),
        started=process_start(os.getpid()) or "",
        since=now,
        heartbeat=now,
        seconds=seconds,
    )


def is_this_process(holder: Holder) -> bool:
    """Whether a record is one of this process."""
    ours = (socket.gethostname(), machine(), os.getpid(), process_start(os.getpid()) or "")
    return (holder.host, holder.machine, holder.pid, holder.started) == ours


def machine() -> str:
    """Boot and pid namespace of this process, which differ between containers and reboots under one host name."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def process_start(pid: int) -> str | None:
    """When a process started, in its system's own words; None when there is no such process, "" if unknown.

    A killed process that its parent has not collected yet counts as ended.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # it exists and is somebody else's
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return _started_by_ps(pid)
    fields = stat.rsplit(")", 1)[-1].split()  # the name before it may hold spaces and brackets
    return None if fields[0] in "ZX" else fields[19]


def _started_by_ps(pid: int) -> str:
    """When a process started, according to `ps`: for systems without /proc. "" if unknown."""
    try:
        done = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


class Lease:
    """The right to write a store, from `acquire` until the `with` block ends; a thread renews it.

    After a block that ends by an exception the next holder fences every table.
    """

    def __init__(self, location: Location, holder: Holder, now: Callable[[], float]) -> None:
        self.location = location
        self.holder = holder
        self._uri = location.table(LEASE_TABLE)
        self._now = now
        self._renewed = holder.heartbeat
        self._replaced_by: Holder | None = None
        self._stop = threading.Event()
        self._beats = 0
        self._thread = threading.Thread(target=self._run, name="protea-ray-lease", daemon=True)

    @classmethod
    def acquire(
        cls, location: Location, heartbeat_seconds: float = 30.0, *, now: Callable[[], float] = time.time
    ) -> Self:
        """Become the one writer of the store.

        `heartbeat_seconds`: how long one heartbeat is good for; after that, others may take the lease. Three
        heartbeats are sent in that time. `now` gives seconds since the epoch. Raises LeaseHeldError naming the
        holder, and StoreError in an outage or when the store cannot be written.
        """
        uri = location.table(LEASE_TABLE)
        ensure_table(uri, _SCHEMA)
        ours = this_process(now(), heartbeat_seconds)
        in_order = _take(location, ours, now)
        lease = cls(location, ours, now)
        lease._thread.start()
        try:
            if not in_order:
                fence_tables(location)
        except BaseException:
            lease.release(in_order=False)
            raise
        return lease

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release(in_order=kind is None)

    def check(self) -> None:
        """Read the lease; raises LeaseLostError when another driver holds it or our heartbeat is overdue."""
        overdue = self._now() - self._renewed
        if self._replaced_by is None and overdue > self.holder.seconds:
            raise LeaseLostError(
                f"this process could not renew its lease on {self.location.uri} for {overdue:.0f} s "
                f"(limit {self.holder.seconds:.0f} s). Run the same command again: what is stored is not repeated."
            )
        holder = self._replaced_by or read_record(open_table(self._uri))
        if holder is None or holder.token != self.holder.token:
            who = holder.describe(self._now()) if holder else "nobody, its table was replaced"
            raise LeaseLostError(
                f"the lease on {self.location.uri} was taken over by {who}. Nothing was written since; "
                "when that driver has finished, run the same command again."
            )

    def release(self, *, in_order: bool = True) -> None:
        """Give the lease back, so that others need not wait until its heartbeat is overdue.

        `in_order` False makes the next holder fence every table. An outage is not reported: without heartbeats the
        lease ends anyway.
        """
        self._stop.set()
        _released.add(self.holder.token)
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout=self.holder.seconds)

        def leave() -> None:
            if self._replace(RELEASED if in_order else ABANDONED):
                self._clean()

        with contextlib.suppress(OSError, StoreError):
            with_retries(leave, retry_on=_is_race_or_outage)

    def _run(self) -> None:
        while not self._stop.wait(self.holder.seconds / _BEATS_PER_TERM):
            self._beat()

    def _beat(self) -> None:
        """Send one heartbeat. In an outage the next one is waited for; `check` raises when that is too late."""
        with contextlib.suppress(OSError, StoreError):
            if not self._replace(self.holder.state):
                self._stop.set()
                return
            self._beats += 1
            if self._beats % _BEATS_PER_CLEANUP == 0:
                self._clean()

    def _replace(self, state: str) -> bool:
        """Write our record with a new heartbeat; returns False when another driver holds the lease."""
        table = open_table(self._uri)
        holder = read_record(table)
        if holder is None or holder.token != self.holder.token:
            self._replaced_by = holder
            return False
        self._renewed = max(self._renewed, holder.heartbeat)  # a beat whose answer was lost kept others out as well
        renewed = replace(self.holder, state=state, heartbeat=self._now())
        table.update_config({_RECORD: renewed.to_json()})
        self._renewed = renewed.heartbeat
        return True

    def _clean(self) -> None:
        """Remove old versions: each heartbeat makes one, and a week of one every 10 s would leave 60,000."""
        with contextlib.suppress(OSError):
            open_table(self._uri).cleanup_old_versions(retain_versions=_VERSIONS_KEPT)


def _take(location: Location, ours: Holder, now: Callable[[], float]) -> bool:
    """Write our record; returns whether the holder before had released the lease in order.

    Raises LeaseHeldError when another driver holds it, and StoreError in an outage.
    """
    in_order = True

    def take() -> bool:
        nonlocal in_order
        table = open_table(location.table(LEASE_TABLE))
        before = read_record(table)
        if before is not None and before.token == ours.token:
            return in_order  # an earlier attempt took it; only the answer was lost
        if before is not None and before.token not in _released and before.blocks(now()):
            raise LeaseHeldError(_who_holds(location, before, now()))
        in_order = before is not None and before.state == RELEASED  # no record: a new store, or its table was lost
        table.update_config({_RECORD: ours.to_json()})
        return in_order

    return with_retries(
        take,
        retry_on=lambda error: _is_race_or_outage(error) and not isinstance(error, LeaseHeldError),
        give_up=lambda error: StoreError(
            f"the lease on {location.uri} cannot be taken: {message(error)}. Check that the store can be written."
        ),
    )


def _is_race_or_outage(error: Exception) -> bool:
    """Whether writing a record may succeed at the next attempt: another driver was quicker, or it was an outage."""
    return isinstance(error, OSError | StoreError)


def _who_holds(location: Location, holder: Holder, now: float) -> str:
    """The message of LeaseHeldError."""
    left = max(1, round(holder.heartbeat + holder.seconds - now))
    return (
        f"another driver is writing {location.uri}: {holder.describe(now)}. "
        f"Wait for it to finish, or stop it; without a heartbeat the lease is free in {left} s."
    )


def read_record(table: lance.LanceDataset) -> Holder | None:
    """The lease's record; None in a new table. Raises StoreError for one that cannot be read."""
    text = table.config().get(_RECORD)
    try:
        return Holder.from_json(text) if text else None
    except (ValueError, TypeError) as error:
        raise StoreError(
            f"the record in {table.uri} cannot be read. When nobody writes the store, move this folder out of it: the "
            "next command that writes makes it anew."
        ) from error


def will_fence(location: Location) -> bool:
    """Whether whoever takes the lease next fences every table: its last holder did not release it in order."""
    table = find_table(location.table(LEASE_TABLE))
    holder = read_record(table) if table is not None else None
    return holder is None or holder.state != RELEASED


def fence_tables(location: Location) -> None:
    """Make every commit that an earlier holder has prepared fail, in all tables.

    Raises StoreError for a table that cannot be fenced.
    """
    for name in location.tables():
        if name != LEASE_TABLE:
            _fence(location.table(name))


def _fence(uri: str) -> None:
    """Fence one table, and try again when a commit of the earlier holder came in between."""
    with_retries(lambda: fence(uri), give_up=lambda error: StoreError(f"{uri} cannot be fenced: {message(error)}"))
