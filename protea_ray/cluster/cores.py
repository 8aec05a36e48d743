"""Count the cores that this process may use: fewer than the machine has under taskset, or with a quota of a container.

`docker run --cpus 2` and a Kubernetes limit leave every core visible and stop the process when its share of a period
is used up. One actor for each visible core would then hold one model each, and run no faster.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path


def usable_cores(root: Path = Path("/")) -> int:
    """The smaller of the cores that may be used and the CPU quota, at least 1. `root` is where proc and sys are."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root)
    return allowed if quota is None else max(1, min(allowed, math.floor(quota)))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """CPUs that the control groups of this process and those above them allow; None without a limit (or Linux)."""
    limits = [limit for group in _groups(root) if (limit := _limit(group)) is not None]
    return min(limits, default=None)


def _groups(root: Path) -> Iterator[Path]:
    """Folders of this process's control groups, each followed by those above it.

    A container often sees its own group as the root of /sys/fs/cgroup, while /proc/self/cgroup has the host's path. So
    a folder that does not exist is passed over, and the root is always looked at.
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        names = [name for name in path.split("/") if name not in ("", "..")]
        for top in _mounts(root, controllers):
            for depth in range(len(names), -1, -1):
                yield top.joinpath(*names[:depth])


def _mounts(root: Path, controllers: str) -> list[Path]:
    """Where a hierarchy is mounted: version 2 has no controllers, version 1 a folder for those of the CPU."""
    top = root / "sys/fs/cgroup"
    return [top / controllers, top / "cpu", top / "cpu,cpuacct"] if controllers else [top, top / "unified"]


def _limit(group: Path) -> float | None:
    """CPUs of one group: `cpu.max` of version 2, or quota and period of version 1."""
    quota, _, period = _text(group / "cpu.max").strip().partition(" ")
    if not quota:
        quota, period = _text(group / "cpu.cfs_quota_us").strip(), _text(group / "cpu.cfs_period_us").strip()
    try:
        cpus = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return None  # `max`, or no such file
    return cpus if cpus > 0 else None  # version 1 writes -1 where there is no limit


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
