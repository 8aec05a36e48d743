"""Row 9: a store that cannot be written. (A vanished bucket is in test_s3.py.)"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests import stores
from tests.chaos import runs
from tests.chaos.rows import Ledger
from tests.chaos.runs import Head

pytestmark = [pytest.mark.chaos, pytest.mark.row(9)]


@contextmanager
def disk(folder: Path, size: int) -> Iterator[Path]:
    """A file system of so many bytes; skips the test where none may be mounted."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "chaos", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def used(folder: Path) -> int:
    """Bytes in whole pages, as a tmpfs counts them."""
    return sum(-(-p.stat().st_size // 4096) * 4096 for p in folder.rglob("*"))


@pytest.mark.parametrize("share", [0.15, 0.3, 0.6])
def test_the_disk_is_full(share: float, head: Head, reference: Path, tmp_path: Path, ledger: Ledger) -> None:
    """At once, or later: one clear error, what is committed can be read, and with space the same command is exact."""
    with disk(tmp_path / "disk", int(share * used(reference))) as folder:
        store = folder / "store"
        with ledger.row(9, "the disk full at 15, 30 and 60 % of the store") as row:
            said = refused(head, store, tmp_path)
            assert "No space left on device (os error 28); free some space first" in said
            assert_a_part(store, reference)
            remount(folder, "size=512m")
            head.embed(store)
            row.times, row.expected = 1, len(stores.vectors(reference))
            row.found = runs.assert_same(store, reference)
            row.redone = runs.redone(stores.space(store))


def refused(head: Head, store: Path, elsewhere: Path) -> str:
    """The error of a driver that fails: one, and no traceback. Its log cannot be on the full disk."""
    process = head.driver(store, beside=elsewhere / "driver")
    runs.finish(process, elsewhere / "driver", 1)
    said = runs.log_of(elsewhere / "driver")
    assert [line.startswith("error: ") for line in said.splitlines()].count(True) == 1, said
    assert "Traceback" not in said
    return said


def assert_a_part(store: Path, reference: Path) -> None:
    """What can be read is right, be it much or nothing."""
    expected = stores.vectors(reference)
    try:
        found = stores.vectors(store)
    except (ValueError, OSError, IndexError):
        return  # the space, or all of the store, was not made yet
    for key, vector in found.items():
        np.testing.assert_array_equal(vector, expected[key])


def test_the_disk_becomes_read_only(head: Head, reference: Path, tmp_path: Path, ledger: Ledger) -> None:
    with disk(tmp_path / "disk", 1 << 29) as folder:
        store = folder / "store"
        shutil.copytree(reference, store)
        remount(folder, "ro")
        with ledger.row(9, "a read-only disk") as row:
            said = refused(head, store, tmp_path)
            assert "Read-only file system" in said
            assert "Check that the store can be written" in said
            row.times, row.expected = 1, len(stores.vectors(reference))
            row.found = runs.assert_same(store, reference)


FORBIDDEN = """
import os, sys
from protea_ray.errors import StoreError
from protea_ray.query.reader import open_store
from protea_ray.store.lease import Lease
from protea_ray.store.location import open_location
Lease.acquire(open_location(sys.argv[2]), 30.0).release()  # imports what nobody may read, once we are nobody
open_store(sys.argv[1]).to_arrow()
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
print(len(open_store(sys.argv[1]).to_arrow()))
try:
    Lease.acquire(open_location(sys.argv[1]), 30.0)
except StoreError as error:
    print(error)
"""


def test_somebody_elses_store(reference: Path, ledger: Ledger) -> None:
    """Readable, not writable: reads go on, a driver is told why not."""
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    try:
        folder.chmod(0o755)
        shutil.copytree(reference, folder / "store")
        if os.geteuid() != 0:
            for path in [folder / "store", *(folder / "store").rglob("*")]:
                path.chmod(0o555 if path.is_dir() else 0o444)
        with ledger.row(9, "no permission to write") as row:
            command = [sys.executable, "-c", FORBIDDEN, str(folder / "store"), str(folder / "other")]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            rows, said = done.stdout.split("\n", 1)
            assert "Permission denied" in said
            assert "Check that the store can be written" in said
            row.times, row.expected, row.found = 1, len(stores.vectors(reference)), int(rows)
    finally:
        subprocess.run(["chmod", "-R", "u+rwX", str(folder)], check=True)
        shutil.rmtree(folder)
