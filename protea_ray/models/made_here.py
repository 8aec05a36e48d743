"""Checkpoints that this package makes on the spot: in its cache directory, whole or not there, made once a machine.

Several processes may want the same one at once: one makes it in a directory of its own and renames it into place, the
others wait. Where the file system has no locks, each makes one, and the first to rename its own wins.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from protea_ray.config.cache import CACHE_VARIABLE, cache_directory
from protea_ray.errors import CheckpointError


def made_here(name: str, write: Callable[[Path], None], is_whole: Callable[[Path], bool], what: str) -> Path:
    """The directory `name` of the cache, written by `write` if it is not there or not whole. `what` it is, in words.

    Raises CheckpointError where it cannot be written, and where what was written is not whole.
    """
    target = cache_directory() / name
    try:
        if not is_whole(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with _one_at_a_time(target.parent):
                if not is_whole(target):  # another process may have made it meanwhile
                    _make(target, write, is_whole, what)
    except OSError as error:
        raise CheckpointError(
            f"cannot write {what} to {target}: {error.strerror or error}. "
            f"Set {CACHE_VARIABLE} to a directory that can be written, or name another model with --model."
        ) from error
    return target


@contextlib.contextmanager
def _one_at_a_time(directory: Path) -> Iterator[None]:
    """Hold the lock of a directory, which leaves no file behind; on a file system without locks, hold nothing."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _make(target: Path, write: Callable[[Path], None], is_whole: Callable[[Path], bool], what: str) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
        fresh = Path(scratch) / target.name
        fresh.mkdir()
        write(fresh)
        if not is_whole(fresh):
            raise CheckpointError(
                f"{what} came out different on this machine (numpy {np.__version__}); "
                "please report it, and name another model with --model meanwhile"
            )
        _move_into_place(fresh, target, is_whole)


def _move_into_place(fresh: Path, target: Path, is_whole: Callable[[Path], bool]) -> None:
    try:
        fresh.rename(target)
    except OSError:
        if is_whole(target):  # another process was faster
            return
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
