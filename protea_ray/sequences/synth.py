"""Synthetic protein families: any number of proteins, the same on every machine, with the family in the header.

Made for demonstrations, tests and scale runs, where real data cannot be shipped. Residue frequencies are Swiss-Prot's
(release statistics of UniProtKB/Swiss-Prot), lengths are log-normal with median 290, mean about 362 and 99th
percentile about 1,360, as in UniProt. Members of a family differ from one ancestor by substitutions, half of them
inside a conservative group, and a few short indels. Each keeps 65 to 97 % of the ancestor, so two members are 40 to
95 % identical. There is no structure, function or real homology in them.

Families that are drawn one by one differ in length and in the shares of their amino acids, and that alone finds a
relative: among 300 proteins of 30 families 0.90 have one as their nearest neighbour by composition (seed 1, 30 to 600
residues). Decoy families take that away. Their ancestors are shuffles of one ancestor, as decoys of sequence searches
are: the same residues behind the same first one in another order, so that only the order tells their members apart.
With four decoys of each family the share is 0.19, and 0.18 is what chance gives among the five.

All randomness comes from `Generator.random` over PCG64, whose stream numpy keeps; its other distributions may change
between versions of numpy. One protein takes about 60 us.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import NormalDist
from typing import BinaryIO

import numpy as np

from protea_ray.errors import ConfigError
from protea_ray.sequences.text import fasta_text

MIN_LENGTH, MAX_LENGTH = 30, 5000
_PERCENT = {
    "A": 8.25, "R": 5.53, "N": 4.06, "D": 5.46, "C": 1.38, "Q": 3.93, "E": 6.71, "G": 7.07, "H": 2.27, "I": 5.91,
    "L": 9.65, "K": 5.80, "M": 2.41, "F": 3.86, "P": 4.74, "S": 6.63, "T": 5.36, "W": 1.10, "Y": 2.92, "V": 6.86,
}  # fmt: skip
_GROUPS = ("ILMV", "FWY", "HKR", "DENQ", "ST", "AG", "C", "P")  # what BLOSUM62 scores above zero, roughly
_CONSERVATIVE = 0.5  # share of the substitutions that stay in the group
_LETTERS = np.frombuffer("".join(_PERCENT).encode(), np.uint8)
_LENGTHS = NormalDist(np.log(290.0), 0.666)  # sigma from mean / median = exp(sigma^2 / 2)
_KEPT = (0.65, 0.97)  # identity with the ancestor; squared, that between two members
_MEAN_INDELS, _MEAN_INDEL = 1.5, 4.0  # per member; residues each
_TESTED = 4  # of a family, every fourth protein is tested where labels are written
_LETTERS_A_LINE = 60
_INTERLEAVED = 64  # families that are written in turns, so that neighbours in the file are not relatives


@dataclass(frozen=True, slots=True)
class SyntheticProtein:
    """One protein; `family` is `F` and a number, `sequence` letters of the 20 amino acids."""

    id: str
    family: str
    sequence: str


def synthesise(
    n: int, seed: int, families: int | None = None, max_length: int = MAX_LENGTH, decoys: int = 0
) -> Iterator[SyntheticProtein]:
    """Stream `n` proteins of `families` families (n / 10 if None), of 30 to `max_length` residues.

    After each family whose ancestor is drawn come `decoys` families, counted in `families`, whose ancestors are
    shuffles of it. Holds 64 ancestors, whatever n. The same arguments give the same proteins. Raises ConfigError on
    counts or lengths that cannot be met.
    """
    count = max(1, n // 10) if families is None else families
    _check(n, count, seed, max_length, decoys)
    return _stream(n, np.random.Generator(np.random.PCG64(seed)), count, max_length, decoys)


def write_fasta(
    target: str | Path | BinaryIO, n: int, seed: int, families: int | None = None, max_length: int = MAX_LENGTH,
    decoys: int = 0, labels: str | Path | None = None,
) -> int:  # fmt: skip
    """Write `synthesise(...)` as FASTA, 60 letters a line; returns the number of residues.

    `labels` is a CSV to write beside it, a task for `evaluate`: id, target (the family) and split, in which the fourth
    protein of a family, the eighth and so on are tested. Raises ConfigError, with nothing written, for a file that
    exists or cannot be made.
    """
    proteins = synthesise(n, seed, families, max_length, decoys)
    residues, seen = 0, Counter[str]()
    with ExitStack() as files:
        if labels is not None and Path(labels).is_file():
            raise _exists(Path(labels))
        file = files.enter_context(_new_file(Path(target))) if isinstance(target, str | Path) else target
        table = files.enter_context(_new_file(Path(labels))) if labels is not None else None
        if table is not None:
            table.write(b"id,target,split\n")
        for protein in proteins:
            residues += len(protein.sequence)
            text = fasta_text(protein.id, f"family={protein.family}", protein.sequence, _LETTERS_A_LINE)
            file.write(text.encode("ascii"))
            if table is not None:
                seen[protein.family] += 1
                split = "train" if seen[protein.family] % _TESTED else "test"
                table.write(f"{protein.id},{protein.family},{split}\n".encode("ascii"))
    return residues


def _new_file(path: Path) -> BinaryIO:
    """The file, open for writing; a pipe or device is written to as it is."""
    try:
        return path.open("wb" if path.exists() and not path.is_file() else "xb")
    except FileExistsError as error:
        raise _exists(path) from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror})", where="synth") from error


def _exists(path: Path) -> ConfigError:
    return ConfigError(f"{path} exists already; name another file, or remove it first", where="synth")


def _check(n: int, families: int, seed: int, max_length: int, decoys: int) -> None:
    problems: list[str] = []
    if n < 1:
        problems.append(f"n: {n} proteins cannot be made, at least 1")
    if families < 1 or families > max(n, 1):
        problems.append(f"families: {families} families of {n} proteins, from 1 to n")
    if seed < 0:
        problems.append(f"seed: {seed} is negative")
    if max_length <= MIN_LENGTH:
        problems.append(f"max_length: {max_length} must be above {MIN_LENGTH}, the shortest protein made")
    if not 0 <= decoys < max(families, 1):
        problems.append(f"decoys: {decoys} decoys of each family do not fit into {families} families")
    if problems:
        raise ConfigError(problems, where="synth")


def _stream(
    n: int, rng: np.random.Generator, families: int, max_length: int, decoys: int
) -> Iterator[SyntheticProtein]:
    serial = 0
    drawn = _ancestors(rng, max_length, decoys)
    for first in range(0, families, _INTERLEAVED):
        numbers = range(first, min(first + _INTERLEAVED, families))
        ancestors = list(islice(drawn, len(numbers)))
        sizes = [n // families + (number < n % families) for number in numbers]
        for turn in range(max(sizes)):
            for number, ancestor, size in zip(numbers, ancestors, sizes, strict=True):
                if turn < size:
                    serial += 1
                    letters = _LETTERS[_member(rng, ancestor)[:max_length]].tobytes().decode("ascii")
                    yield SyntheticProtein(f"SYN{serial:06d}", f"F{number + 1:04d}", letters)


def _substitutions() -> np.ndarray:
    """[20, 20] cumulative probabilities of the residue that replaces each residue, never itself."""
    background = np.array(list(_PERCENT.values()))
    letters = list(_PERCENT)
    rows: list[np.ndarray] = []
    for index, letter in enumerate(letters):
        anything = background.copy()
        group = next(group for group in _GROUPS if letter in group)
        alike = background * [other in group for other in letters]
        anything[index] = alike[index] = 0
        share = _CONSERVATIVE if alike.any() else 0.0
        rows.append((1 - share) * anything / anything.sum() + share * alike / max(alike.sum(), 1e-9))
    return np.cumsum(rows, axis=1)


_BACKGROUND = np.cumsum(list(_PERCENT.values())) / sum(_PERCENT.values())
_REPLACED_BY = _substitutions()


def _drawn(rng: np.random.Generator, cumulative: np.ndarray, count: int) -> np.ndarray:
    """[count] residue numbers from one cumulative distribution [20], or from one row each of [count, 20]."""
    return np.minimum((rng.random(count)[:, None] > cumulative).sum(axis=-1), len(_LETTERS) - 1)


def _ancestors(rng: np.random.Generator, max_length: int, decoys: int) -> Iterator[np.ndarray]:
    """Ancestors without end: one that is drawn, then `decoys` shuffles of it behind its first residue."""
    while True:
        first = _ancestor(rng, max_length)
        yield first
        for _ in range(decoys):
            order = np.argsort(rng.random(len(first) - 1), kind="stable")
            yield np.concatenate([first[:1], first[1:][order]])


def _ancestor(rng: np.random.Generator, max_length: int) -> np.ndarray:
    low, high = (_LENGTHS.cdf(float(np.log(length))) for length in (MIN_LENGTH, max_length))
    length = int(np.exp(_LENGTHS.inv_cdf(low + (high - low) * rng.random())))
    residues = _drawn(rng, _BACKGROUND, length)
    residues[0] = list(_PERCENT).index("M")
    return residues


def _member(rng: np.random.Generator, ancestor: np.ndarray) -> np.ndarray:
    """One member of a family: the ancestor with substitutions, then indels. The first residue stays."""
    low, high = _KEPT
    changes = max(2, round(len(ancestor) * (1 - low - (high - low) * rng.random())))
    where = 1 + np.argsort(rng.random(len(ancestor) - 1), kind="stable")[:changes]
    residues = ancestor.copy()
    residues[where] = _drawn(rng, _REPLACED_BY[ancestor[where]], changes)
    for _ in range(_geometric(rng, _MEAN_INDELS)):
        residues = _indel(rng, residues)
    return residues


def _indel(rng: np.random.Generator, residues: np.ndarray) -> np.ndarray:
    size = 1 + _geometric(rng, _MEAN_INDEL - 1)
    at = 1 + int(rng.random() * (len(residues) - 1))
    if rng.random() < 0.5:
        return np.insert(residues, at, _drawn(rng, _BACKGROUND, size))
    return residues if len(residues) - size < MIN_LENGTH else np.delete(residues, slice(at, at + size))


def _geometric(rng: np.random.Generator, mean: float) -> int:
    """A count 0, 1, 2, ... with the given mean."""
    return int(np.log1p(-rng.random()) / np.log(mean / (1 + mean)))
