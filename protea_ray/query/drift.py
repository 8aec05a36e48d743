"""How far two spaces of one store are apart, for a person who decides whether to move an alias.

Two measures are taken over one sample of proteins that both spaces hold. *Cosine* compares a protein's two vectors. It
is meaningful only when the second checkpoint grew out of the first: two models that were trained apart have unrelated
axes, and a cosine near 0 says nothing of either. *Overlap* asks how many of a protein's 10 nearest neighbours inside
the sample are the same in both spaces; it needs no common axes or widths, and is what a search sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

import numpy as np
import pyarrow as pa

from protea_ray.display import html_table, text_table
from protea_ray.errors import ConfigError, StoreError
from protea_ray.pictures.nearest_points import nearest_rows
from protea_ray.query.one_pass import SAFE_NORM
from protea_ray.query.view import CHUNK, View, matrix
from protea_ray.store.keys import KeyIndex, words
from protea_ray.store.ledger import FIRST_ROW
from protea_ray.store.location import Location

NEIGHBOURS = 10
SAMPLE = 2_000
BUCKETS = ((1, 99), (100, 199), (200, 399), (400, 799), (800, 1599), (1600, None))  # residues; half of all are 200-399
_BLOCK = 1024  # rows of similarities in memory at once: 80 MB beside a sample of 20,000


@dataclass(frozen=True)
class Agreement:
    """Proteins of one length bucket. `cosine_*` are None when the widths differ; `overlap` is 0 to 1."""

    residues: str
    proteins: int
    cosine_mean: float | None
    cosine_low: float | None  # 5th percentile
    overlap: float

    def cells(self) -> list[str]:
        """Its row of text, under Drift.columns."""
        cosines = ["-" if value is None else f"{value:.4f}" for value in (self.cosine_mean, self.cosine_low)]
        return [self.residues, f"{self.proteins:,}", *cosines, f"{self.overlap:.1%}"]


@dataclass(frozen=True)
class Side:
    """One space of the comparison: its version, model, vector width, number of proteins, and whether it was trained."""

    space: str
    version: int
    model: str
    width: int
    proteins: int
    trained: bool


@dataclass(frozen=True, repr=False)
class Drift:
    """Two spaces compared over `whole.proteins` sampled ones of the `shared` that both hold.

    `chance` is the overlap of two unrelated spaces, k / (sample - 1). `notes` say what the numbers cannot.
    """

    a: Side
    b: Side
    pooling: str
    shared: int
    k: int
    chance: float
    whole: Agreement
    buckets: tuple[Agreement, ...]
    notes: tuple[str, ...]

    def sides(self) -> list[str]:
        """What is compared, one line a space."""
        return [
            f"{name}: {side.space} at version {side.version} ({side.model}), {side.proteins:,} proteins"
            for name, side in (("A", self.a), ("B", self.b))
        ]

    def columns(self) -> list[str]:
        """Names of the columns of `rows`."""
        return ["residues", "proteins", "cosine, mean", "cosine, 5 % below", f"same of {self.k} neighbours"]

    def rows(self) -> list[list[str]]:
        """A row of text for the whole sample, then one for each length bucket, under `columns`."""
        return [row.cells() for row in (self.whole, *self.buckets)]

    def facts(self) -> list[str]:
        """What the numbers mean, and what they cannot say."""
        meaning = (
            f"{self.whole.proteins:,} of {self.shared:,} proteins that both hold, pooling {self.pooling}; "
            f"unrelated spaces share {self.chance:.1%} of the neighbours. "
            "Cosine tells something only if B's model grew out of A's."
        )
        return [meaning, *(f"note: {note}" for note in self.notes)]

    def __repr__(self) -> str:
        return "\n".join([*self.sides(), text_table(self.columns(), self.rows()), *self.facts()])

    def _repr_html_(self) -> str:
        table = html_table("; ".join(self.sides()), self.columns(), self.rows())
        return table + "".join(f"<p>{escape(fact)}</p>" for fact in self.facts())

    def to_json(self) -> dict[str, Any]:
        """Plain values only."""
        return asdict(self)


def drift(
    location: Location, a: str, b: str, *, sample: int = SAMPLE, seed: int = 0, pooling: str | None = None
) -> Drift:
    """Compare two spaces (names or aliases) over `sample` proteins; the same seed draws the same proteins.

    A protein of a chunked space stands for the mean of its chunks, weighted by their residues. Raises ConfigError
    for a pooling that the two do not share, UnknownSpaceError, and StoreError when fewer than three proteins are in
    both.
    """
    left, right = View.open(location, a), View.open(location, b)
    pooling = common_pooling(left, right, pooling)
    keys = [protein_keys(view) for view in (left, right)]
    shared = _in_both(*keys)
    if len(shared) < 3:
        raise StoreError(
            f"{left.pin.space} and {right.pin.space} share {len(shared)} protein(s); at least 3 are needed"
        )
    drawn = draw(shared, sample, seed)
    ours, lengths = protein_vectors(left, drawn, pooling)
    theirs, _ = protein_vectors(right, drawn, pooling)
    k = min(NEIGHBOURS, len(drawn) - 1)
    cosine = (ours * theirs).sum(axis=1) if ours.shape == theirs.shape else None
    overlap = shared_neighbours(ours, theirs, k)
    return Drift(
        a=_side(left, ours, len(keys[0])),
        b=_side(right, theirs, len(keys[1])),
        pooling=pooling,
        shared=len(shared),
        k=k,
        chance=k / (len(drawn) - 1),
        whole=_agreement("all", cosine, overlap, np.ones(len(drawn), bool)),
        buckets=tuple(_by_length(cosine, overlap, lengths)),
        notes=tuple(_notes(left, right, ours, theirs)),
    )


def shared_keys(left: View, right: View) -> pa.Array:
    """Keys of the proteins that both spaces hold, each once, in the order of the first."""
    return _in_both(protein_keys(left), protein_keys(right))


def protein_keys(view: View) -> pa.Array:
    """The key of every protein of a space, once, in row order."""
    return view.vectors.to_table(columns=["key"], filter=FIRST_ROW)["key"].combine_chunks()


def _in_both(ours: pa.Array, theirs: pa.Array) -> pa.Array:
    return ours.filter(pa.array(KeyIndex(theirs).contains(ours)))


def common_pooling(left: View, right: View, wanted: str | None) -> str:
    """The pooling that both spaces have: `wanted`, else mean, else the first; raises ConfigError without one."""
    common = [p for p in left.poolings if p in right.poolings]
    if wanted is None and common:
        return "mean" if "mean" in common else common[0]
    if wanted is None or wanted not in common:
        sides = "; ".join(f"{v.pin.space} has {', '.join(v.poolings) or 'no pooled vectors'}" for v in (left, right))
        raise ConfigError(f"the two spaces do not share {wanted or 'a pooling'}: {sides}", where="pooling")
    return wanted


def draw(keys: pa.Array, count: int, seed: int) -> pa.Array:
    """The `count` keys whose hash with the seed is smallest, in that order.

    So the sample does not depend on the order of rows, a larger one holds the smaller one, and a store that grows
    keeps most of it.
    """
    high, low = words(keys)
    mixed = _mix(high ^ _mix(low ^ np.uint64(seed)))
    return keys.take(pa.array(np.argsort(mixed, kind="stable")[:count]))


def _mix(values: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014); arithmetic is modulo 2^64."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def protein_vectors(view: View, keys: pa.Array, pooling: str) -> tuple[np.ndarray, np.ndarray]:
    """One float32 vector of length 1 per key, (n, D), and the residues of each, (n,), in the order of `keys`."""
    vectors, lengths = mean_vectors(view, keys, pooling)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), SAFE_NORM), lengths


def mean_vectors(view: View, keys: pa.Array, pooling: str) -> tuple[np.ndarray, np.ndarray]:
    """One float32 vector per key, (n, D), and the residues of each, (n,), in the order of `keys`, all in the space.

    Of a chunked protein it is the mean of its chunks, weighted by their residues; else the vector as it is stored.
    """
    rows = view.rows_of(keys, [*CHUNK, "n_residues", pooling])
    index = KeyIndex(keys)
    vectors, lengths = np.zeros((len(keys), view.facts["widths"][pooling]), np.float32), np.zeros(len(keys), np.int64)
    weights = np.zeros(len(keys), np.float32)
    for batch in rows.to_batches():  # one at a time in float32, beside all of them as they are stored
        owner = index.order[index.find(batch["key"])[0]]
        residues = (batch["chunk_end"].to_numpy() - batch["chunk_start"].to_numpy()).astype(np.float32)
        weight = residues if view.info.chunked else np.ones(len(batch), np.float32)
        order = np.argsort(owner, kind="stable")
        which, first = np.unique(owner[order], return_index=True)
        weighted = matrix(batch[pooling]).astype(np.float32) * weight[:, None]
        vectors[which] += np.add.reduceat(weighted[order], first, axis=0)
        weights[which] += np.add.reduceat(weight[order], first)
        lengths[owner] = batch["n_residues"].to_numpy()
    vectors /= np.maximum(weights, 1)[:, None]
    return vectors, lengths


def shared_neighbours(ours: np.ndarray, theirs: np.ndarray, k: int) -> np.ndarray:
    """(n,) share of each row's `k` nearest other rows that are the same in both spaces."""
    found = np.zeros(len(ours))
    for start in range(0, len(ours), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(ours)))
        one, other = (nearest_rows(vectors, rows, k)[0] for vectors in (ours, theirs))
        found[rows] = [len(np.intersect1d(a, b)) / k for a, b in zip(one, other, strict=True)]
    return found


def _agreement(label: str, cosine: np.ndarray | None, overlap: np.ndarray, rows: np.ndarray) -> Agreement:
    return Agreement(
        residues=label,
        proteins=int(rows.sum()),
        cosine_mean=None if cosine is None else float(cosine[rows].mean()),
        cosine_low=None if cosine is None else float(np.percentile(cosine[rows], 5)),
        overlap=float(overlap[rows].mean()),
    )


def _by_length(cosine: np.ndarray | None, overlap: np.ndarray, lengths: np.ndarray) -> Sequence[Agreement]:
    found = []
    for low, high in BUCKETS:
        rows = (lengths >= low) & (lengths <= (high or np.inf))
        if rows.any():
            found.append(_agreement(f"{low}-{high}" if high else f"{low}+", cosine, overlap, rows))
    return found


def _side(view: View, vectors: np.ndarray, proteins: int) -> Side:
    return Side(view.pin.space, view.pin.version, view.info.model, vectors.shape[1], proteins, view.info.trained)


def _notes(left: View, right: View, ours: np.ndarray, theirs: np.ndarray) -> list[str]:
    notes = []
    if ours.shape != theirs.shape:
        widths = f"{ours.shape[1]} and {theirs.shape[1]}"
        notes.append(f"the vectors are {widths} numbers wide, so there is no cosine; the overlap needs none")
    chunked = [view.pin.space for view in (left, right) if view.info.chunked]
    if chunked:
        notes.append(f"{' and '.join(chunked)} stores chunks; a protein stands for their mean, weighted by residues")
    return notes
