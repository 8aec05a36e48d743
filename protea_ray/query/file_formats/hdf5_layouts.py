"""HDF5 files with one data set a protein, as biotrainer and as ProtSpace look vectors up.

biotrainer computes the name of a protein's data set from its letters (biotrainer/utilities/hashing.py) and finds none
by its id. ProtSpace shows the name itself (protspace/data/loaders/h5.py), so there it is the accession. In both, the
attribute `original_id` is the id as it is stored, and `protea_key` the key of a protein that is there whole: `import`
matches by it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from protea_ray.config.identity import short_name
from protea_ray.query.file_formats.content import Content, NamedRow
from protea_ray.query.file_formats.hdf5_vectors import ID_ATTRIBUTE, KEY_ATTRIBUTE
from protea_ray.query.file_formats.names import free_name, named_otherwise, plain_name


def h5_file(content: Content, path: Path) -> int:
    """Write biotrainer's layout, vectors or residue matrices; returns the rows."""
    rows, renamed = _write(content, path, lambda row: biotrainer_name(row.letters))
    if renamed:
        content.notes.append(
            f"{len(renamed):,} rows have the letters of another one ({named_otherwise(renamed)}); biotrainer reads one "
            "vector for both, which is the same"
        )
    return rows


def protspace_file(content: Content, path: Path) -> int:
    """Write ProtSpace's layout, one vector a protein named by its accession; returns the rows."""
    rows, renamed = _write(content, path, lambda row: row.accession)
    if renamed:
        content.notes.append(
            f"{len(renamed):,} rows have another name than their accession, which HDF5 cannot hold or which is taken "
            f"({named_otherwise(renamed)}); the attribute {ID_ATTRIBUTE} has the id"
        )
    return rows


def biotrainer_name(letters: str) -> str:
    """The name by which biotrainer finds the vector of these letters.

    >>> biotrainer_name("MKT")[:16]
    '885f21ab182dd879'
    """
    return hashlib.sha256(f"{letters}_{len(letters)}".encode()).hexdigest()


def _write(content: Content, path: Path, name: Callable[[NamedRow], str]) -> tuple[int, list[tuple[str, str]]]:
    """Write one data set a row; returns the rows, and label and name of those that could not have the name wanted."""
    import h5py

    rows, renamed = 0, []
    with h5py.File(path, "w") as out:
        out.attrs["model_name"] = "vectors" if content.view is None else short_name(content.view.info.model)
        for row in content.named():
            wanted = name(row)
            free = free_name(plain_name(wanted), out)
            stored = out.create_dataset(free, data=row.values)
            stored.attrs[ID_ATTRIBUTE] = row.label
            if row.whole:
                stored.attrs[KEY_ATTRIBUTE] = row.key.hex()
            renamed += [(row.label, free)] if free != wanted else []
            rows += 1
    return rows, renamed
