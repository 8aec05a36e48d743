"""What is judged: spaces and aliases, each resolved once to a pin, and users' files of vectors.

`NAME`, `NAME@VERSION`, `NAME:POOLING`, `NAME@VERSION:POOLING`, a path that ends in .h5 or .hdf5, or `all`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from protea_ray.config.recipe import POOLINGS
from protea_ray.errors import ConfigError, InputError, StoreError, did_you_mean
from protea_ray.evaluate.inputs import Input
from protea_ray.evaluate.residue_reading import why_no_residues
from protea_ray.query.view import Pin, View
from protea_ray.store.keys import KeyIndex
from protea_ray.store.location import Location
from protea_ray.store.pins import pinned_target
from protea_ray.store.spaces import SpaceInfo, list_spaces

ALL = "all"
NO_MATRICES = "none"  # the pooling of a space whose residues are asked for
_GRAMMAR = re.compile(r"([^:@]+)(?:@([0-9]+))?(?::([a-z_0-9]+))?")
_FILES = (".h5", ".hdf5")


@dataclass(frozen=True)
class Subject:
    """A space or file: `pooled` goes into tasks per protein, `residues` into tasks per residue; None where it cannot,
    for the reason `why_not`. `info` is None of a file."""

    name: str
    info: SpaceInfo | None
    pooled: Input | None
    residues: Input | None
    why_not: str = ""

    @property
    def inputs(self) -> list[Input]:
        """Both, as far as they are there."""
        return [given for given in (self.pooled, self.residues) if given is not None]


def read_subjects(location: Location, wanted: Sequence[str]) -> list[Subject]:
    """Resolve what was asked for, each subject once; raises ConfigError with every mistake in one message."""
    problems: list[str] = []
    found: dict[str, Subject] = {}
    for text in wanted:
        try:
            for subject in _subjects(location, text.strip()):
                found.setdefault(subject.name, subject)
        except ConfigError as error:
            problems += error.problems
        except InputError as error:
            problems += error.problems
        except StoreError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError(problems, where="spaces")
    if not found:
        raise ConfigError(
            f"no space to evaluate: {location.uri} has none. `protea-ray embed` makes one", where="spaces"
        )
    return list(found.values())


def _subjects(location: Location, text: str) -> Iterator[Subject]:
    if text == ALL:
        spaces = list_spaces(location)
        trained = [info.name for info in spaces if info.trained]
        for name in trained or [info.name for info in spaces]:  # untrained ones are controls
            yield space_subject(location, name)
    elif text.lower().endswith(_FILES):
        yield _file_subject(Path(text).expanduser())
    elif match := _GRAMMAR.fullmatch(text):
        name, version, pooling = match.groups()
        yield space_subject(location, name, int(version) if version else None, pooling)
    else:
        raise ConfigError(f"{text!r} is no space; write NAME, NAME@VERSION, NAME:POOLING, all, or a path that ends in "
                          ".h5", where="spaces")  # fmt: skip


def space_subject(location: Location, name: str, version: int | None = None, pooling: str | None = None) -> Subject:
    """A space or alias at one pin. `pooling` None: mean, else the first, as everywhere.

    Raises UnknownSpaceError, StoreError for a version that is gone, and ConfigError for a pooling that is not stored.
    """
    if pooling is not None and pooling not in POOLINGS:
        hint = did_you_mean(pooling, POOLINGS)
        raise ConfigError(f"{name}:{pooling}: {pooling!r} is no pooling{hint}", where="spaces")
    view = View(location, Pin(*pinned_target(location, name, version)))
    columns = view.poolings
    if pooling not in (None, NO_MATRICES, *columns):
        kept = ", ".join(columns) or "residues alone"
        raise ConfigError(f"{view.pin.space} has no pooling {pooling}; it has {kept}", where="spaces")
    chosen = pooling or ("mean" if "mean" in columns else next(iter(columns), NO_MATRICES))
    shown = f"{view.pin.space}:{chosen}" if pooling or len(columns) > 1 else view.pin.space
    why_not = why_no_residues(view)
    pooled = None if chosen == NO_MATRICES else _input(view, shown, chosen, view.facts["widths"][chosen])
    residues = None if why_not else _input(view, shown, NO_MATRICES, view.facts["residue_width"])
    return Subject(shown, view.info, pooled, residues, why_not)


def _input(view: View, name: str, pooling: str, width: int) -> Input:
    info = view.info
    return Input(
        name, width, space=view.pin.space, version=view.pin.version, proteins=view.pin.proteins, pooling=pooling,
        model=info.model, trained=info.trained, recipe=info.config,
    )  # fmt: skip


def _file_subject(path: Path) -> Subject:
    """A user's file with one vector for each protein; raises ConfigError without h5py, InputError for another file."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    try:
        import h5py
    except ImportError:
        raise ConfigError(
            f'{path}: reading HDF5 needs h5py: pip install "protea-ray[evaluate]"', where="spaces"
        ) from None
    try:
        with h5py.File(path, "r") as file:
            shapes = {tuple(getattr(member, "shape", ())) for member in file.values()}
    except (OSError, RuntimeError, KeyError) as error:
        raise InputError(f"{path} cannot be read as HDF5: {error}") from error
    widths = {shape[-1] for shape in shapes if shape}
    if len(widths) != 1:
        raise InputError(
            f"{path} holds vectors of {len(widths)} widths; one vector for each protein is wanted, all of one"
        )
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    given = Input(path.name, int(widths.pop()), space=str(path.absolute()), source=digest)
    return Subject(path.name, None, given, None, f"{path.name} is a file of one vector for each protein")


def lacking(location: Location, subjects: Sequence[Subject]) -> Callable[[Any], np.ndarray]:
    """A function of keys: (n,) True for proteins that have no vector in some subject at its pin.

    A task leaves them out, so that every input is judged on the same proteins.
    """
    pins = {(given.space, given.version, given.proteins) for subject in subjects for given in subject.inputs
            if not given.source}  # fmt: skip
    views = [View(location, Pin(*pin)) for pin in sorted(pins)]
    held = [KeyIndex(view.vectors.to_table(columns=["key"])["key"].combine_chunks()) for view in views]
    files = [subject.pooled for subject in subjects if subject.pooled is not None and subject.pooled.source]
    proteins = any_view(location, subjects)

    def without(keys: pa.Array) -> np.ndarray:
        missing = np.zeros(len(keys), bool)
        for index in held:
            missing |= ~index.contains(keys)
        for given in files:
            missing |= _missing_in_file(proteins, given, keys)
        return missing

    return without


def any_view(location: Location, subjects: Sequence[Subject]) -> View:
    """The view to whose proteins tasks are joined: of the first subject that is a space, else of the newest space."""
    for subject in subjects:
        for given in subject.inputs:
            if not given.source:
                return View(location, Pin(given.space, given.version, given.proteins))
    newest = newest_view(location)
    if newest is None:
        raise ConfigError(f"{location.uri} has no space; `protea-ray embed` makes one", where="spaces")
    return newest


def newest_view(location: Location) -> View | None:
    """The newest space as it stands now; None in a store without a space."""
    newest = max(list_spaces(location), key=lambda info: info.created, default=None)
    return View(location, Pin(*pinned_target(location, newest.name))) if newest else None


def _missing_in_file(view: View, given: Input, keys: pa.Array) -> np.ndarray:
    """(n,) True for keys none of whose ids is in a user's file."""
    from protea_ray.query.file_formats.hdf5_vectors import vectors_by_id

    records = view.records_by("key", keys.to_pylist(), ["id", "key"])
    found = vectors_by_id(Path(given.space), records["id"].to_pylist())
    there = {key for key, vector in zip(records["key"].to_pylist(), found, strict=True) if vector is not None}
    return np.array([key not in there for key in keys.to_pylist()], bool)
