"""HDF5 files of vectors, as streams of items. Two shapes are read, whatever program wrote them:

* one data set a protein, its id in the attribute `original_id` or in its name: biotrainer, bio_embeddings (reduced or
  per residue), ProtSpace, ProtTrans' scripts, UniProt's per-protein.h5 and per-residue.h5. Files that were exported
  here also have the protein's key, so that an id of several sequences is no riddle;
* one group a protein with its vectors below it, and perhaps its letters in `sequence`: FANTASIA
  (`accession_X/type_N/layer_N/embedding`). Where a group holds several vectors one must be chosen.

Names in HDF5 are not always ids: `/` would make a group, and programs replace it, `.` and `|` by `_`. Files with one
matrix and a list of ids beside it (AnnData, STRING's, pandas') are of another shape and are named in the error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from protea_ray.errors import ConfigError, InputError
from protea_ray.exchange.vector_files import VectorItem, item_of
from protea_ray.query.file_formats.hdf5_vectors import hdf5_id, hdf5_key, hdf5_text, open_hdf5

if TYPE_CHECKING:
    import h5py

FLAT, FANTASIA, GROUPS = "biotrainer-h5", "fantasia-h5", "groups-h5"
_PREFIX = "accession_"
_LETTERS = "sequence"
_LOOKED_AT = 50  # members of the file that decide what shape it has and which vectors there are to choose from
_SHOWN = 5


def hdf5_format(path: Path) -> str:
    """Which shape a file has; raises InputError for another one, ConfigError when h5py is not installed."""
    with open_hdf5(path) as file:
        import h5py

        members = dict(islice(file.items(), _LOOKED_AT))
        groups = [name for name, member in members.items() if isinstance(member, h5py.Group)]
        lists = [name for name, data in _below(file, _LOOKED_AT).items() if _is_text(data) and data.ndim]
        if not members:
            raise InputError(f"{path} is empty")
        if lists or 0 < len(groups) < len(members):
            what = f"the lists {_named(lists)}" if lists else f"the groups {_named(groups)} beside data sets"
            raise InputError(f"{path} holds {what}, so it does not have one data set or group for each protein; it has "
                             f"{_named(list(members))}")  # fmt: skip
        if not groups:
            return FLAT
        return FANTASIA if all(name.startswith(_PREFIX) for name in groups) else GROUPS


def flat_items(path: Path) -> Iterator[VectorItem]:
    """Items of a file with one data set a protein; raises InputError for a file that h5py cannot read."""
    with open_hdf5(path) as file:
        import h5py

        for name, data in file.items():
            array = np.asarray(data[()]) if isinstance(data, h5py.Dataset) and data.dtype.kind == "f" else None
            yield replace(item_of(hdf5_id(data, name), None, array), key=hdf5_key(data))


def group_items(path: Path, layer: int | None, dataset: str | None) -> Iterator[VectorItem]:
    """Items of a file with one group a protein.

    `dataset` (a path below the group, or its beginning) and `layer` choose one of several vectors. Raises ConfigError
    that lists them when that leaves none or several, InputError for groups without a vector.
    """
    with open_hdf5(path) as file:
        chosen = _chosen(file, path, layer, dataset)
        for name, group in file.items():
            held, letters = _dataset(group, chosen), _dataset(group, _LETTERS)
            sequence = hdf5_text(letters[()]) if letters is not None and _is_text(letters) else None
            array = np.asarray(held[()]) if held is not None and held.dtype.kind == "f" else None
            yield item_of(hdf5_id(group, name.removeprefix(_PREFIX)), sequence, array)


def _dataset(group: Any, path: str) -> Any:
    """The data set at a path below a group; None where there is none."""
    import h5py

    held = group.get(path) if isinstance(group, h5py.Group) else None
    return held if isinstance(held, h5py.Dataset) else None


def _below(file: h5py.File, members: int) -> dict[str, Any]:
    """Data sets of the first members, by their paths."""
    import h5py

    data: dict[str, Any] = {}

    def note(name: str, member: Any) -> None:
        data[name] = member

    for name, member in islice(file.items(), members):
        if isinstance(member, h5py.Group):
            member.visititems(lambda path, held, name=name: note(f"{name}/{path}", held))
        else:
            note(name, member)
    return {name: held for name, held in data.items() if isinstance(held, h5py.Dataset)}


def _chosen(file: h5py.File, path: Path, layer: int | None, dataset: str | None) -> str:
    """The path below each group at which the wanted vector stands."""
    vectors = (name.split("/", 1)[1] for name, data in _below(file, _LOOKED_AT).items() if data.dtype.kind == "f")
    have = list(dict.fromkeys(vectors))
    if not have:
        raise InputError(f"{path} holds the groups {_named(list(islice(file, _SHOWN + 1)))}, and no vector in them")
    left = [name for name in have if _is_wanted(name, layer, dataset)]
    if len(left) == 1:
        return left[0]
    choices = [name.removesuffix("/embedding") for name in left or have]
    problem = "has several vectors for each protein" if left else "has no such vector"
    raise ConfigError(f"{path.name} {problem}: {', '.join(choices)}; name one with --dataset {choices[-1]}, or --layer",
                      where="dataset")  # fmt: skip


def _is_wanted(name: str, layer: int | None, dataset: str | None) -> bool:
    below = dataset is None or f"{name}/".startswith(f"{dataset.strip('/')}/")
    return below and (layer is None or f"layer_{layer}" in name.split("/"))


def _is_text(data: Any) -> bool:
    return data.dtype.kind in "OSU"


def _named(names: list[str]) -> str:
    return ", ".join([*names[:_SHOWN], *["..."] * (len(names) > _SHOWN)])
