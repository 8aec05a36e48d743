"""Paths that a person typed, checked in milliseconds: before any import, checkpoint, Ray or lease.

Only what needs no library is checked here. Whether an input holds sequences is for `sequences.inputs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from protea_ray.errors import ConfigError, InputError

_PATTERN = frozenset("*?[")


def require_paths(inputs: Sequence[str], store: str) -> None:
    """Raise for local inputs that do not exist and for a store that is a file, all of them in one message.

    Raises ConfigError when the store is wrong, InputError when only inputs are.
    """
    missing = [f"{given}: {problem}" for given in inputs if (problem := _missing(given))]
    if is_file(store):
        problem = (
            f"STORE {store} is a file, but a store is a directory or an s3:// or gs:// URI. "
            "It is the last argument: protea-ray embed INPUT... STORE"
        )
        raise ConfigError([problem, *missing], where="arguments")
    if missing:
        raise InputError(missing)


def is_file(store: str) -> bool:
    """Whether what was given as a store is a local file."""
    return "://" not in store and Path(store).expanduser().is_file()


def _missing(given: str) -> str | None:
    """Why `given` is a plain local path that names nothing; `-`, URLs, chains and patterns are looked up later."""
    if given == "-" or "://" in given or "::" in given or _PATTERN & set(given):
        return None
    path = Path(given).expanduser()
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return "is a link that points to nothing" if path.is_symlink() else "no such file"
    except (OSError, ValueError) as error:  # no permission, a name too long, a loop of links, NUL
        return f"cannot be read ({getattr(error, 'strerror', None) or error})"
    return None


def require_writable(path: str | Path, where: str) -> None:
    """Raise ConfigError when the local file `path` could not be written; `where` is the option that named it."""
    if problems := unwritable(path):
        raise ConfigError(problems, where=where)


def unwritable(path: str | Path) -> list[str]:
    """What would keep the local file `path` from being written: at most one sentence. URLs are not looked at.

    A new file is made and removed again, since permissions, read-only file systems and names that are too long or not
    allowed are known to the file system alone.
    """
    if "://" in str(path):
        return []
    file = Path(path)
    try:
        if file.is_dir():
            return [f"{path} is a directory; name a file in it"]
        if not file.parent.is_dir():
            return [f"{file.parent} is not a directory; make it first"]
        new = not file.exists()
        if new or file.is_file():
            file.open("ab").close()
        if new:
            file.unlink()
    except OSError as error:
        return [f"{path} cannot be written: {error.strerror}"]
    return []
