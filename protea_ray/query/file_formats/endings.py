"""Which ending makes which file, what each can hold, and writing one so that a failure leaves what was there before."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from protea_ray.config.paths import unwritable
from protea_ray.errors import ConfigError, StoreError
from protea_ray.query.file_formats.anndata_file import h5ad_file
from protea_ray.query.file_formats.arrow_files import arrow_file, parquet_file
from protea_ray.query.file_formats.content import NO_POOLING, Content
from protea_ray.query.file_formats.esm_folder import esm_folder
from protea_ray.query.file_formats.hdf5_layouts import h5_file, protspace_file
from protea_ray.query.file_formats.npz_file import npz_file
from protea_ray.query.file_formats.text_files import csv_lines, fasta_lines, json_lines, text_file, tsv_lines
from protea_ray.query.search import pooling_of
from protea_ray.query.view import CHUNK, View
from protea_ray.store.object_store_errors import is_outage

Holds = Literal["rows", "vectors", "letters"]


@dataclass(frozen=True)
class FileFormat:
    """How files of one ending are written.

    `holds`: any rows, vectors of one pooling, or letters. `libraries` come with the [bio] extra, `matrices`: residue
    matrices are possible, `several`: poolings beside the one asked for, `labels`: columns of a user's, `letters`: names
    are made of them, `is_folder`: it makes a directory.
    """

    write: Callable[[Content, Path], int]
    holds: Holds = "rows"
    libraries: tuple[str, ...] = ()
    matrices: bool = False
    several: bool = False
    labels: bool = False
    letters: bool = False
    is_folder: bool = False

    def pooling(self, view: View, asked: str | None) -> str:
        """The vector column to write, "" for all; raises ConfigError for one that the space or the format has not."""
        if asked == NO_POOLING and not self.matrices:
            able = ", ".join(ending for ending, format in FORMATS.items() if format.matrices)
            raise ConfigError(f"none is residue matrices, which go to {able} alone", where="pooling")
        if self.holds == "letters" or (self.holds == "rows" and asked is None):
            return ""
        return NO_POOLING if asked == NO_POOLING else pooling_of(view, asked)

    def columns(self, view: View, pooling: str, asked: str | None = None) -> list[str] | None:
        """What must be read of the proteins and the space for the pooling that `pooling(view, asked)` gave.

        None: what `Store.get` gives unasked.
        """
        if self.holds == "letters":
            return ["description", "sequence", "chunk_start"]
        vector = [] if pooling == NO_POOLING else view.poolings if self.several and asked is None else [pooling]
        if self.holds == "vectors":
            return ["length", "description", *(["sequence"] if self.letters else []), *CHUNK, *vector]
        return ["length", "description", *(CHUNK if view.info.chunked else ()), *vector] if pooling else None


FORMATS = {
    ".parquet": FileFormat(parquet_file),
    ".arrow": FileFormat(arrow_file),
    ".csv": FileFormat(text_file(csv_lines)),
    ".csv.gz": FileFormat(text_file(csv_lines)),
    ".tsv": FileFormat(text_file(tsv_lines)),
    ".tsv.gz": FileFormat(text_file(tsv_lines)),
    ".jsonl": FileFormat(text_file(json_lines)),
    ".jsonl.gz": FileFormat(text_file(json_lines)),
    ".npz": FileFormat(npz_file, "vectors"),
    ".h5ad": FileFormat(h5ad_file, "vectors", ("anndata", "pandas", "h5py"), several=True, labels=True),
    ".h5": FileFormat(h5_file, "vectors", ("h5py",), matrices=True, letters=True),
    ".protspace.h5": FileFormat(protspace_file, "vectors", ("h5py",)),
    ".pt": FileFormat(esm_folder, "vectors", matrices=True, is_folder=True),
    ".fasta": FileFormat(text_file(fasta_lines), "letters"),
    ".fasta.gz": FileFormat(text_file(fasta_lines), "letters"),
}


def require_format(
    path: str | Path, where: str, holds: tuple[Holds, ...] = ("rows", "vectors", "letters")
) -> FileFormat:
    """The format of a file that is to be written; raises ConfigError that lists all that would stop it at its end.

    `where` is the option that named the file, `holds` what there is to write.
    """
    ending = _ending(path)
    allowed = [name for name, format in FORMATS.items() if format.holds in holds]
    problems = []
    if ending is None:
        problems.append(f"{Path(path).name}: the ending must be one of {', '.join(allowed)}")
    elif ending not in allowed:
        problems.append(f"{ending} holds {FORMATS[ending].holds}, of which there are none here; "
                        f"the ending must be one of {', '.join(allowed)}")  # fmt: skip
    problems += _obstacles(path, ending)
    if problems or ending is None:
        raise ConfigError(problems, where=where)
    return FORMATS[ending]


def _ending(path: str | Path) -> str | None:
    """The ending of `path` that names a format, upper case or lower."""
    name = Path(path).name.lower()
    return max((ending for ending in FORMATS if name.endswith(ending)), key=len, default=None)


def _obstacles(path: str | Path, ending: str | None) -> list[str]:
    """Why a file of this ending cannot be written to `path`, each in a sentence."""
    if "://" in str(path):
        return [f"{path} is a URL; a file of this machine is written, which can be copied there"]
    format = FORMATS[ending] if ending else None
    missing = [name for name in (format.libraries if format else ()) if find_spec(name) is None]
    problems = [f"{name} is not installed; pip install 'protea-ray[bio]'" for name in missing]
    folder = Path(path).expanduser()
    if format is None or not format.is_folder:
        return [*unwritable(folder), *problems]
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        problems.append(f"{path} exists; {ending} makes a folder of one file a protein, so name a new one")
    return [*problems, *([] if folder.exists() else unwritable(folder))]


def write_file(content: Content, path: str | Path, format: FileFormat) -> int:
    """Write beside `path` and rename: what was there before stays when nothing is written, or not all of it.

    Returns the rows. Raises StoreError when the disk does not take them.
    """
    target = Path(path).expanduser()
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".export-") as folder:
            beside = Path(folder) / f"rows{_ending(path)}"
            rows = format.write(content, beside)
            if rows:
                beside.replace(target)
        return rows
    except OSError as error:
        if is_outage(error) or error.errno is None:  # of the store that is read
            raise
        raise StoreError(f"{path} cannot be written: {error.strerror or error}. What was there before stays") from error
