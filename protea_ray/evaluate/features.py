"""The vectors of a task's proteins from one input: a stored column at its pin, a user's file, or a control."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from protea_ray.errors import ConfigError, InputError
from protea_ray.evaluate.composition import composition
from protea_ray.evaluate.controls import random_vectors
from protea_ray.evaluate.inputs import COMPOSITION, RANDOM, Input
from protea_ray.evaluate.task import Task
from protea_ray.query.file_formats.hdf5_vectors import vectors_by_id
from protea_ray.query.view import CHUNK, Pin, View, matrix
from protea_ray.store.keys import KeyIndex, key_array
from protea_ray.store.location import open_location

_SHOWN = 5


def features(given: Input, task: Task, location_uri: str) -> np.ndarray:
    """(n, width) float32 or float16 in the order of the task's proteins.

    A protein of a chunked space stands for the mean of its chunks, weighted by their residues, as in `drift`. Raises
    ConfigError for another pooling of chunks, InputError that names proteins without a vector or with one that is not
    finite.
    """
    if given.control == RANDOM:
        return random_vectors(task.keys, given.width)
    if given.control == COMPOSITION:
        return composition(list(task.sequences))
    found = _of_file(given, task) if given.source else _of_space(given, task, location_uri)
    refuse_not_finite(found, task, given.name)
    return found


def refuse_not_finite(values: np.ndarray, task: Task, source: str) -> None:
    """Raise InputError that names the proteins in whose row of `values` (n, width) a number is nan or infinite."""
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise InputError(f"{source}: the vectors of {_named(task, bad)} hold values that are not finite; leave these "
                         "proteins out of the task, or embed them again")  # fmt: skip


def _of_space(given: Input, task: Task, location_uri: str) -> np.ndarray:
    view = View(open_location(location_uri), Pin(given.space, given.version, given.proteins))
    if given.pooling not in view.poolings:
        raise ConfigError(f"{given.space} has no pooling {given.pooling}; it has {', '.join(view.poolings) or 'none'}",
                          where="spaces")  # fmt: skip
    if view.info.chunked and given.pooling != "mean":
        raise ConfigError(f"{given.space} stores chunks, and a protein's {given.pooling} does not follow from theirs; "
                          "evaluate its pooling mean, or a space without --chunk-size", where="spaces")  # fmt: skip
    keys = key_array(task.keys)
    rows = view.rows_of(keys, [*CHUNK, given.pooling])
    index = KeyIndex(keys)
    owner = index.order[index.find(rows["key"])[0]]
    _refuse_missing(given, task, np.bincount(owner, minlength=len(task)) == 0)
    vectors = matrix(rows[given.pooling])
    if view.info.chunked:
        start, end = (rows[name].to_numpy() for name in CHUNK)
        return _mean_of_chunks(vectors, owner, end - start, len(task))
    found = np.empty((len(task), vectors.shape[1]), vectors.dtype)
    found[owner] = vectors
    return found


def _mean_of_chunks(vectors: np.ndarray, owner: np.ndarray, residues: np.ndarray, proteins: int) -> np.ndarray:
    """(proteins, width) float32 means of the chunks' `vectors`, of which number i is of protein `owner[i]`.

    The sums are of float64, in which the order of rows is lost in rounding to float32.
    """
    summed = np.zeros((proteins, vectors.shape[1]))
    np.add.at(summed, owner, vectors.astype(np.float64) * residues[:, None])
    return (summed / np.bincount(owner, residues, proteins)[:, None]).astype(np.float32)


def _of_file(given: Input, task: Task) -> np.ndarray:
    found = vectors_by_id(Path(given.space), task.ids)
    _refuse_missing(given, task, np.array([vector is None for vector in found]))
    return np.stack([vector for vector in found if vector is not None])


def _refuse_missing(given: Input, task: Task, missing: np.ndarray) -> None:
    rows = np.flatnonzero(missing)
    if len(rows):
        raise InputError(f"{given.name} has no vector of {len(rows):,} of {len(task):,} proteins of {task.name}: "
                         f"{_named(task, rows)}")  # fmt: skip


def _named(task: Task, rows: np.ndarray) -> str:
    shown = ", ".join(task.ids[row] for row in rows[:_SHOWN])
    return f"{shown} and {len(rows) - _SHOWN:,} more" if len(rows) > _SHOWN else shown
