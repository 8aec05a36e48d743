"""Where the package keeps what it can make again: the untrained model, calibrations, compiled layers."""

from __future__ import annotations

import os
import sys
import tempfile
from functools import cache
from pathlib import Path

CACHE_VARIABLE = "PROTEA_RAY_CACHE"
_OWNER_ONLY = 0o700


def cache_directory() -> Path:
    """Directory for files that can be made again: `$PROTEA_RAY_CACHE`, else `~/.cache/protea-ray`.

    Where the home directory is missing or cannot be written, a private directory for temporary files, and a word.
    """
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen) if chosen.startswith("/") else Path(chosen).expanduser()
    try:
        usual = Path("~/.cache/protea-ray").expanduser()
    except RuntimeError:  # a user without an entry in the list of users, and no HOME
        return _temporary("there is no home directory")
    return usual if _can_be_written(usual) else _temporary(f"{usual} cannot be written")


def _can_be_written(directory: Path) -> bool:
    """Whether the directory, or the one it would be made in, lets this process write."""
    there = next(place for place in (directory, *directory.parents) if place.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


@cache
def _temporary(why: str) -> Path:
    """A directory of this user alone, the same for every process of one machine where that is possible."""
    try:
        place = Path(tempfile.gettempdir()) / f"protea-ray-{os.getuid()}"
        if not _is_own(place):
            place = Path(tempfile.mkdtemp(prefix="protea-ray-"))
    except OSError:  # nowhere to write: whoever needs a file says so
        return Path("/tmp") / f"protea-ray-{os.getuid()}"
    print(f"{why}, so what can be made again is kept in {place}; {CACHE_VARIABLE} names another place", file=sys.stderr)
    return place


def _is_own(place: Path) -> bool:
    """Make the directory, or see that nobody else made it: a model that somebody else put there would be loaded."""
    try:
        place.mkdir(mode=_OWNER_ONLY)
    except FileExistsError:
        seen = place.lstat()
        return (
            place.is_dir()
            and not place.is_symlink()
            and (seen.st_uid, seen.st_mode & 0o777)
            == (
                os.getuid(),
                _OWNER_ONLY,
            )
        )
    return True
