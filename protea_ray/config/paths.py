"""Paths that a person typed, checked in milliseconds: before any import, checkpoint, Ray or lease.

Only what needs no library is checked here. Whether an input holds sequences is for `sequences.inputs`.
"""

from __future__ import annotations

import glob
import os
import shlex
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from protea_ray.display import first_of
from protea_ray.errors import ConfigError, InputError, StoreError

_PATTERN = frozenset("*?[")
_PROTEINS = "proteins.lance"  # the table that makes a directory a store
_LITTER = frozenset({"lost+found", "Thumbs.db", "desktop.ini"})
_MOST_NAMES = 10_000  # of a directory in which a misspelt name is looked for
_PLAN = "plan.json"  # the file that makes a directory a training run
_TRAIN = "protea-ray train STORE OUT"


def require_paths(inputs: Sequence[str], store: str) -> None:
    """Raise for inputs that are none and for a STORE that must not be written to, all of them in one message.

    Raises ConfigError when the store is wrong, an input is a store, or both are in the wrong order; InputError when
    inputs are only missing.
    """
    stores = [given for given in inputs if "://" not in given and _is_nothing_but_a_store(given)]
    if is_file(store) and len(stores) == 1:
        meant = shlex.join(["protea-ray", "embed", *(g for g in inputs if g not in stores), store, *stores])
        raise ConfigError(f"INPUT and STORE are in the wrong order; write {meant}", where="arguments")
    problems = [
        f"INPUT {given} is a store, and its tables are never inputs; another model for its proteins is "
        f"protea-ray reembed {shlex.quote(given)} --model MODEL"
        for given in stores
    ]
    if is_file(store):
        meant = shlex.join(["protea-ray", "embed", *inputs, store])
        problems.insert(0, f"STORE {store} is a file, but a store is a directory or an s3:// or gs:// URI. "
                           f"It is the last argument: {meant} STORE")  # fmt: skip
    elif foreign := _foreign(store):
        problems.insert(0, foreign)
    missing = [f"{given}: {problem}" for given in inputs if (problem := _missing(given))]
    if problems:
        raise ConfigError([*problems, *missing], where="arguments")
    if missing:
        raise InputError(missing)


def require_inputs(inputs: Sequence[str]) -> None:
    """Raise InputError that names every local input which does not exist."""
    missing = [f"{given}: {problem}" for given in inputs if (problem := _missing(given))]
    if missing:
        raise InputError(missing)


def require_new_store(store: str) -> None:
    """Raise ConfigError when STORE is a local file, or a directory that holds other things and no store."""
    problem = f"STORE {store} is a file; name a directory" if is_file(store) else _foreign(store)
    if problem:
        raise ConfigError(problem, where="arguments")


def require_store(store: str) -> None:
    """Raise StoreError when there is no store at a local path: nothing, a file, or a directory of other things.

    A directory with any table counts, also after a loss: what is missing is for `verify`. URIs are looked up later.
    """
    if "://" in store or not store.strip():
        return
    path = Path(store).expanduser()
    try:
        if path.is_file():
            raise StoreError(
                f"STORE {store} is a file, but a store is a directory or an s3:// or gs:// URI; "
                f"protea-ray embed {shlex.quote(store)} STORE makes one of it"
            )
        if not path.is_dir():
            hint = nearest_beside(path, _holds_tables)
            raise StoreError(f"there is no store at {store}{hint or f'; {_makes(store)} makes one'}")
        if not _holds_tables(path):
            below = sorted(item.name for item in path.iterdir() if _holds_tables(item))
            hint = f"; did you mean {path / below[0]}?" if below else f"; {_makes(store)} makes one"
            raise StoreError(f"there is no store at {store}: it is a directory without tables{hint}")
    except OSError as error:
        raise StoreError(f"STORE {store} cannot be read: {error.strerror}") from None


def _makes(store: str) -> str:
    return f"`protea-ray embed INPUT {shlex.quote(store)}`"


def _holds_tables(path: Path) -> bool:
    """Whether a directory holds anything that may be a table."""
    try:
        return path.is_dir() and any(item.name.endswith(".lance") and item.is_dir() for item in path.iterdir())
    except OSError:
        return False


def _is_nothing_but_a_store(given: str) -> bool:
    """Whether a local directory is a store, without other files that may hold sequences."""
    path = Path(given).expanduser()
    try:
        if not (path / _PROTEINS).is_dir():
            return False
        return all(item.name.endswith(".lance") for item in path.iterdir() if not _is_litter(item.name))
    except OSError:
        return False


def _foreign(store: str) -> str | None:
    """Why a run must not write to a directory: it holds things, and no table among them. What systems leave is none."""
    path = Path(store).expanduser()
    try:
        if "://" in store or not path.is_dir() or _holds_tables(path):
            return None
        held = sorted(item.name for item in path.iterdir() if not _is_litter(item.name))
    except OSError as error:
        return f"STORE {store} cannot be read ({error.strerror})"
    if not held:
        return None
    return f"STORE {store} holds {_contents(held)}, and no store; name a new or empty directory, as {path / 'store'}"


def _is_litter(name: str) -> bool:
    """Whether a system or an editor left this: hidden files (.DS_Store, .git), a new file system's lost+found."""
    return name.startswith(".") or name in _LITTER


def _names_beside(path: Path, wanted: Callable[[Path], bool]) -> list[str]:
    """Paths, as a person would write them, of what is wanted beside a path that is missing; at most 10,000 are read."""
    try:
        return [str(item) for item in islice(path.parent.iterdir(), _MOST_NAMES) if wanted(item)]
    except OSError:
        return []


def is_file(store: str) -> bool:
    """Whether what was given as a store is a local file."""
    return "://" not in store and Path(store).expanduser().is_file()


def _missing(given: str) -> str | None:
    """Why `given` is a local path or pattern that names nothing; `-`, URLs and chains are looked up later."""
    if given == "-" or "://" in given or "::" in given:
        return None
    path = Path(given).expanduser()
    if _PATTERN & set(given):
        return _matches_nothing(path)
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            return "is a link that points to nothing"
        return f"no such file{nearest_beside(path)}"
    except (OSError, ValueError) as error:  # no permission, a name too long, a loop of links, NUL
        return f"cannot be read ({getattr(error, 'strerror', None) or error})"
    return None


def _matches_nothing(path: Path) -> str | None:
    """Why a pattern names nothing. `**` is left to the reader of inputs, whose rules for it are others."""
    if "**" in str(path) or os.path.lexists(path) or any(glob.iglob(str(path), include_hidden=True)):  # noqa: PTH207
        return None
    return "no file matches this pattern"


def nearest_beside(path: Path, wanted: Callable[[Path], bool] = Path.exists) -> str:
    """What is wanted beside a missing path and has the nearest name, to append to a message; empty where none has."""
    names = {item.rpartition("/")[2]: item for item in _names_beside(path, wanted)}
    found = get_close_matches(path.name, names, n=1, cutoff=0.6)
    return f"; did you mean {names[found[0]]}?" if found else ""


def as_texts(paths: str | Path | Sequence[str | Path]) -> list[str]:
    """One path or several as a list of strings."""
    return [str(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]


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
    hint = nearest_beside(Path(store).expanduser(), _holds_tables)
    return f"there is no store at {store}{hint or f'; protea-ray embed INPUT {store} makes one'}"


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
