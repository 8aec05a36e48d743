"""Cores that may be used: the quota of every kind of control group, built as files in a folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from protea_ray.cluster.cores import cpu_quota, usable_cores


def machine(root: Path, groups: str, files: dict[str, str]) -> Path:
    """A folder with proc/self/cgroup and files below sys/fs/cgroup."""
    for name, text in {"proc/self/cgroup": groups, **{f"sys/fs/cgroup/{k}": v for k, v in files.items()}}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


V1 = "12:memory:/docker/ab\n4:cpu,cpuacct:/docker/ab\n1:name=systemd:/docker/ab\n"


@pytest.mark.parametrize(
    ("groups", "files", "cpus"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/kubepods/pod1/c\n", {"kubepods/pod1/cpu.max": "400000 100000\n"}, 4.0),  # the limit of a pod, above
        (
            "0::/a/b\n",
            {"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "200000 100000\n", "cpu.max": "max 100000\n"},
            2.0,
        ),
        ("0::/a/b\n", {"a/cpu.max": "100000 100000\n", "a/b/cpu.max": "800000 100000\n"}, 1.0),
        ("0::/../../x\n", {"cpu.max": "50000 100000\n"}, 0.5),  # a namespace of its own
        (V1, {"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2.0),
        (V1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        (
            V1,
            {"cpu,cpuacct/docker/ab/cpu.cfs_quota_us": "50000", "cpu,cpuacct/docker/ab/cpu.cfs_period_us": "25000"},
            2.0,
        ),
        ("12:memory:/docker/ab\n", {"memory/docker/ab/cpu.max": "100000 100000"}, None),
        (V1 + "0::/\n", {"unified/cpu.max": "700000 100000"}, 7.0),
        ("0::/\n", {"cpu.max": "nonsense"}, None),
        ("", {}, None),
    ],
)
def test_the_smallest_limit_of_a_group_and_those_above(
    tmp_path: Path, groups: str, files: dict[str, str], cpus: float | None
) -> None:
    assert cpu_quota(machine(tmp_path, groups, files)) == cpus


def test_cores_are_the_smaller_of_affinity_and_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    for quota, cores in (("250000 100000", 2), ("10000 100000", 1), ("6400000 100000", 8), ("max 100000", 8)):
        assert usable_cores(machine(tmp_path, "0::/\n", {"cpu.max": quota})) == cores


def test_a_machine_without_control_groups(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == len(os.sched_getaffinity(0))
