"""Who holds a store: one process of one machine, recognisable after its pid was given to another."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

HELD, RELEASED, ABANDONED = "held", "released", "abandoned"


@dataclass(frozen=True)
class Holder:
    """The lease's record. Times are seconds since the epoch; `seconds` is how long one heartbeat is good for."""

    state: str
    token: str
    host: str
    machine: str  # boot and pid namespace: where `pid` means something
    pid: int
    started: str  # of the process, as its system tells it
    since: float
    heartbeat: float
    seconds: float

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Holder:
        return cls(**json.loads(text))

    def blocks(self, now: float) -> bool:
        """Whether this record keeps others out: it is held, in time, and not by a dead process of this machine."""
        return self.state == HELD and now - self.heartbeat <= self.seconds and not self.is_dead()

    def is_dead(self) -> bool:
        """Certain only for processes of this machine; elsewhere nothing but the heartbeat tells."""
        if (self.host, self.machine) != (socket.gethostname(), machine()):
            return False
        alive = process_start(self.pid)
        return alive is None or (bool(self.started and alive) and alive != self.started)

    def describe(self, now: float) -> str:
        """Host, process, since when to the second, and age of the last heartbeat."""
        since = datetime.fromtimestamp(self.since, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        age = max(0, round(now - self.heartbeat))
        return f"process {self.pid} on {self.host}, since {since}, last heartbeat {age} s ago"


def this_process(now: float, seconds: float) -> Holder:
    """A new record of this process, with a fresh token."""
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


def machine() -> str:
    """Boot and pid namespace of this process; containers and reboots under one host name differ in it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def process_start(pid: int) -> str | None:
    """When the process started, in its system's own words; None when there is no such process, "" if unknown.

    A killed process that its parent has not collected yet counts as gone.
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
    """For systems without /proc."""
    try:
        done = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()
