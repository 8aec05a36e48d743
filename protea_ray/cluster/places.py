"""Where a cluster that is started here keeps its sockets, logs and objects.

Ray takes $RAY_TMPDIR, else $TMPDIR, else /tmp. Batch systems set TMPDIR to paths that are longer than a Unix socket's
name may be, or that are gone, or read-only; then the next directory serves.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from protea_ray.errors import ClusterError

SOCKET_BYTES = 107 if os.uname().sysname == "Linux" else 103  # of the name of a Unix socket
_BELOW = "/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"  # the longest name Ray puts there
_SPARE_BYTES = 64 << 20  # for logs; objects are in shared memory
_SHARED_MEMORY = Path("/dev/shm")
_FALLBACKS = ("/tmp", "/var/tmp", "/dev/shm")


def ray_directory() -> Path:
    """The directory for Ray's sessions on this machine; raises ClusterError that says why each candidate will not do.

    A RAY_TMPDIR that will not do is an error, since somebody chose it; any other candidate is passed over.
    """
    if chosen := os.environ.get("RAY_TMPDIR"):
        if problem := _problem(Path(chosen) / "ray"):
            raise ClusterError(f"Ray cannot start in RAY_TMPDIR={chosen}: {problem}. Set it to a short path on a disk "
                               "with space, such as /tmp, or unset it")  # fmt: skip
        return Path(chosen) / "ray"
    problems: list[str] = []
    for top in dict.fromkeys([os.environ.get("TMPDIR") or "/tmp", *_FALLBACKS]):
        for place in (Path(top) / "ray", Path(top) / f"ray-{os.getuid()}"):  # the first may be somebody else's
            problem = _problem(place)
            if problem is None:
                return place
            problems.append(f"{place} {problem}")
    raise ClusterError(
        f"Ray finds no directory for its sockets and logs: {'; '.join(problems)}. Set RAY_TMPDIR to a short path that "
        "can be written"
    )


def object_directory(beside: Path) -> str | None:
    """None where Ray chooses by itself; the directory for objects on a machine without shared memory."""
    return None if os.access(_SHARED_MEMORY, os.W_OK | os.X_OK) else str(beside)


def _problem(place: Path) -> str | None:
    """Why Ray cannot have its directory at `place`, which is made; None when it can."""
    if not place.is_absolute():
        return "is no absolute path"
    longest = len(os.fsencode(place)) + len(_BELOW)
    if longest > SOCKET_BYTES:
        return f"is {longest - SOCKET_BYTES} bytes too long for a socket's name ({SOCKET_BYTES} bytes with Ray's part)"
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            pass
        free = shutil.disk_usage(place).free
    except OSError as error:
        return f"cannot be written ({error.strerror or error})"
    return f"has only {free >> 20} MiB free" if free < _SPARE_BYTES else None
