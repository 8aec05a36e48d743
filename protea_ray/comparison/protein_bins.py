"""The proteins of a comparison: some of each length, drawn by seed from a file or a store.

A bin is named by the most residues in it; it begins above the bin before. Drawn are the proteins whose hash with the
seed is smallest, so that the sample depends neither on the order of the file nor on how it is read, and a larger one
holds the smaller one. The file is read once, and no more of it is kept than is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from protea_ray.config.recipe import AlphabetName
from protea_ray.errors import InputError
from protea_ray.plan.hashing import keyed
from protea_ray.sequences.inputs import Columns, expand, scan
from protea_ray.sequences.read import read_part
from protea_ray.store.keys import words
from protea_ray.store.location import PROTEINS_TABLE

SHORT = (128, 256, 512, 1022)  # residues
LONG = (2048, 4096, 8192)
_PART_BYTES = 64 << 20


@dataclass(frozen=True)
class DrawnProtein:
    """One protein of a comparison: its key of 16 bytes, normalised letters, and the bin that it is in."""

    key: bytes
    sequence: str
    bin: int


@dataclass(frozen=True)
class ProteinBins:
    """Proteins in ascending bins. `lacking` are bins without a protein, `left_out` counts those that are too long."""

    proteins: tuple[DrawnProtein, ...]
    lacking: tuple[int, ...]
    left_out: int

    @property
    def bins(self) -> tuple[int, ...]:
        """The bins that have proteins, ascending."""
        return tuple(dict.fromkeys(protein.bin for protein in self.proteins))

    def of(self, bin: int) -> tuple[DrawnProtein, ...]:
        """The proteins of one bin."""
        return tuple(protein for protein in self.proteins if protein.bin == bin)

    def up_to(self, longest: int) -> tuple[DrawnProtein, ...]:
        """The proteins of all bins up to `longest` residues."""
        return tuple(protein for protein in self.proteins if protein.bin <= longest)


def length_bins(trained: int | None, longest: int) -> tuple[int, ...]:
    """The bins up to `longest` residues; the trained length is the end of one, since other things begin behind it.

    >>> length_bins(1022, 8192)
    (128, 256, 512, 1022, 2048, 4096, 8192)
    >>> length_bins(254, 600)
    (128, 254, 512, 600)
    """
    ends = [*SHORT, *LONG]
    if trained is not None:
        ends = [end for end in ends if not trained < end < 1.1 * trained and not trained / 1.1 < end < trained]
        ends.append(trained)
    return tuple(sorted({end for end in ends if end < longest} | {longest}))


def draw_proteins(
    source: str, bins: Sequence[int], count: int, seed: int, alphabet: AlphabetName = "aa"
) -> ProteinBins:  # fmt: skip
    """Draw up to `count` proteins of each bin from sequences or a store; letters that come twice count once.

    Raises InputError for a source that is none, and for one without a protein of at most the longest bin.
    """
    best: list[pa.Table] = [pa.table({"hash": pa.array([], pa.uint64())})] * len(bins)
    too_long = 0
    for batch in _batches(source, Columns(alphabet=alphabet)):
        length = batch["length"].to_numpy()
        high, low = words(batch["key"])
        mixed = keyed(seed, high.view(np.int64), low.view(np.int64))
        place = np.searchsorted(bins, length)
        too_long += int((place == len(bins)).sum())
        for i in np.unique(place[place < len(bins)]).tolist():
            best[i] = _smallest(best[i], batch, mixed, np.flatnonzero(place == i), count)
    drawn = [
        DrawnProtein(key, sequence, bin)
        for bin, table in zip(bins, best, strict=True) if len(table)
        for key, sequence in zip(table["key"].to_pylist(), table["sequence"].to_pylist(), strict=True)
    ]  # fmt: skip
    if not drawn:
        raise InputError(f"{source} has no protein of at most {bins[-1]:,} residues to compare variants on")
    lacking = tuple(bin for bin, table in zip(bins, best, strict=True) if not len(table))
    return ProteinBins(tuple(drawn), lacking, too_long)


def _smallest(kept: pa.Table, batch: pa.RecordBatch, mixed: np.ndarray, rows: np.ndarray, count: int) -> pa.Table:
    """The `count` proteins of smallest hash among those kept and the `rows` of a batch, ascending by hash."""
    rows = rows[np.unique(mixed[rows], return_index=True)[1][:count]]
    new = pa.table({
        "hash": pa.array(mixed[rows]), "key": batch["key"].take(pa.array(rows)),
        "sequence": batch["sequence"].take(pa.array(rows)),
    })  # fmt: skip
    both = new if not len(kept) else pa.concat_tables([kept, new])
    _, first = np.unique(both["hash"].to_numpy(), return_index=True)
    return both.take(pa.array(first[:count])).combine_chunks()


def _batches(source: str, columns: Columns) -> Iterator[pa.RecordBatch]:
    """The proteins of a source in batches of PROTEINS_SCHEMA; records that are none are left out."""
    table = Path(source).expanduser() / f"{PROTEINS_TABLE}.lance"
    for place in expand([str(table) if table.is_dir() else source], columns):
        for part in scan(place, columns, _PART_BYTES).parts:
            for batch in read_part(part, columns, place.uri, ""):
                if batch.proteins.num_rows:
                    yield batch.proteins
