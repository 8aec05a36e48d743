"""Where Ray's sockets may be: short, there, writable, with space; and what is said when no place will do."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from protea_ray.cluster import places
from protea_ray.cluster.places import object_directory, ray_directory
from protea_ray.errors import ClusterError


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Sockets may be as long as this test's own folder needs; no directory is named."""
    monkeypatch.setattr(places, "SOCKET_BYTES", len(str(tmp_path)) + 90)
    monkeypatch.setattr(places, "_FALLBACKS", (str(tmp_path / "fallback"),))
    for name in ("RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_ray_gets_the_directory_it_would_take(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(short / "t"))
    assert ray_directory() == short / "t" / "ray"
    monkeypatch.setenv("RAY_TMPDIR", str(short / "r"))
    assert ray_directory() == short / "r" / "ray"


def blocked(at: Path) -> Path:
    at.write_text("a file, where a directory should be")
    return at


@pytest.mark.parametrize("kind", ["long", "file", "below a file", "relative"])
def test_a_tmpdir_that_will_not_do_is_passed_over(kind: str, short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = {
        "long": str(short / ("slurm_job.1234567." * 6)),
        "file": str(blocked(short / "file")),
        "below a file": str(short / "file" / "tmp"),
        "relative": "scratch/tmp",
    }[kind]
    monkeypatch.setenv("TMPDIR", bad)
    assert ray_directory() == short / "fallback" / "ray"


def test_a_ray_tmpdir_that_will_not_do_is_an_error(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(short / ("x" * 90)))
    with pytest.raises(ClusterError, match=r"RAY_TMPDIR=.* bytes too long .* short path"):
        ray_directory()
    monkeypatch.setenv("RAY_TMPDIR", str(blocked(short / "file")))
    with pytest.raises(ClusterError, match=r"cannot be written \(Not a directory\)"):
        ray_directory()


def test_somebody_elses_folder_and_a_full_disk(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(short))
    blocked(short / "ray")
    assert ray_directory().name.startswith("ray-")

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1 << 30, 1 << 30, 3 << 20))
    with pytest.raises(ClusterError, match=r"has only 3 MiB free.*Set RAY_TMPDIR"):
        ray_directory()


def test_objects_are_beside_the_logs_where_there_is_no_shared_memory(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "_SHARED_MEMORY", short / "none")
    assert object_directory(short) == str(short)
    monkeypatch.setattr(places, "_SHARED_MEMORY", short)
    assert object_directory(short) is None
