"""Paths that a person typed, checked in milliseconds: before any import, checkpoint, Ray or lease.

Only what needs no library is checked here. Whether an input holds sequences is for `sequences.inputs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from protea_ray.display import first_of
from protea_ray.errors import ConfigError, InputError

_PATTERN = frozenset("*?[")
_PROTEINS = "proteins.lance"  # the table that makes a directory a store
_PLAN = "plan.json"  # the file that makes a directory a training run
_TRAIN = "protea-ray train STORE OUT"


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


def require_inputs(inputs: Sequence[str]) -> None:
    """Raise one InputError for all local inputs that do not exist."""
    if missing := [f"{given}: {problem}" for given in inputs if (problem := _missing(given))]:
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


def require_training_paths(store: str, out: str) -> None:
    """Raise ConfigError for a STORE that is none, or an OUT that must not be written to, all of it in one message."""
    if "://" not in out and _holds_store(out) and "://" not in store and not _holds_store(store):
        problem = f"STORE and OUT are in the wrong order: {out} is the store; write protea-ray train {out} {store}"
        raise ConfigError(problem, where="arguments")
    problems = [problem for problem in (_no_store(store), _no_place(store, out)) if problem]
    if problems:
        raise ConfigError(problems, where="arguments")


def _holds_store(path: str) -> bool:
    return (Path(path).expanduser() / _PROTEINS).is_dir()


def _no_store(store: str) -> str | None:
    """Why nothing can be read from `store`; a URI is looked up later."""
    if "://" in store or _holds_store(store):
        return None
    if is_file(store):
        return (
            f"STORE {store} is a file; proteins are read from a store: "
            f"protea-ray embed {store} STORE makes one, then {_TRAIN}"
        )
    if Path(store).expanduser().is_dir():
        return f"STORE {store} is a directory without {_PROTEINS}, so no store; write {_TRAIN}"
    return f"there is no store at {store}; protea-ray embed INPUT {store} makes one"


def _no_place(store: str, out: str) -> str | None:
    """Why a training run must not write to `out`: it is new, empty, or holds an earlier run."""
    if "://" in out:
        return f"OUT {out} is a URL; a run is written to a directory (on several machines, one that all of them share)"
    try:
        place = Path(out).expanduser().resolve()
        if place.exists() and not place.is_dir():
            return f"OUT {out} is a file; name a directory, new or empty: {_TRAIN}"
        root = None if "://" in store else Path(store).expanduser().resolve()
        if root is not None and (place == root or root in place.parents):
            return f"OUT {out} lies inside STORE {store}, where each folder is a table; name a directory beside it"
        held = sorted(item.name for item in place.iterdir()) if place.is_dir() else []
    except (OSError, RuntimeError) as error:  # a loop of links is the latter
        return f"OUT {out} cannot be read ({getattr(error, 'strerror', None) or error})"
    if held and _PLAN not in held:
        return f"OUT {out} holds {_contents(held)}, and no run of this command; name a directory that is new or empty"
    return None


def _contents(names: Sequence[str]) -> str:
    """What a directory that is not empty seems to be."""
    if _PROTEINS in names:
        return "a store"
    return "a checkpoint" if "config.json" in names else f"other files ({first_of(names)})"
