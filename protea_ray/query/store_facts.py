"""A store at one moment as plain values: what the report and the figures show of it."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from protea_ray.pictures.store_data import LengthBin, StoreFacts
from protea_ray.query.reject_groups import read_reject_groups
from protea_ray.query.run_facts import read_run_facts
from protea_ray.store.ledger import scan_proteins
from protea_ray.store.location import Location

MOST_BINS = 40
_WIDE = 20  # the longest protein by the shortest, from which bins grow with the length
_TO_A_DECADE = 10  # bins, where they grow
_STEPS = (1, 2, 5)


def read_store_facts(location: Location) -> StoreFacts:
    """Read the lengths of all proteins, the rejects by reason and every run. Raises StoreError."""
    lengths, counts = _lengths(location)
    return StoreFacts(
        uri=location.uri,
        read=datetime.now(UTC),
        proteins=int(counts.sum()),
        residues=int((lengths * counts).sum()),
        lengths=length_bins(lengths, counts),
        longest=int(lengths.max(initial=0)),
        rejects=read_reject_groups(location),
        runs=read_run_facts(location),
    )


def _lengths(location: Location) -> tuple[np.ndarray, np.ndarray]:
    """The distinct lengths of the protein records in residues, and how many records have each."""
    found: dict[int, int] = {}
    for batch in scan_proteins(location, None, ["length"]):
        for length, count in zip(*np.unique(batch.column("length").to_numpy(), return_counts=True), strict=True):
            found[int(length)] = found.get(int(length), 0) + int(count)
    lengths = sorted(found)
    return np.array(lengths, np.int64), np.array([found[length] for length in lengths], np.int64)


def length_bins(lengths: np.ndarray, counts: np.ndarray) -> tuple[LengthBin, ...]:
    """Bins with round edges that hold every protein: of one width, or growing where lengths differ 20 times."""
    if not len(lengths):
        return ()
    edges = _edges(int(lengths.min()), int(lengths.max()))
    places = np.searchsorted(edges, lengths, side="right") - 1
    sums = np.bincount(places, weights=counts, minlength=len(edges) - 1).astype(int)
    return tuple(LengthBin(int(a), int(b) - 1, int(n)) for a, b, n in zip(edges[:-1], edges[1:], sums, strict=True))


def _edges(shortest: int, longest: int) -> np.ndarray:
    """First residues of bins from at most `shortest` to beyond `longest`, rising."""
    if longest > _WIDE * max(shortest, 1):
        low, high = (np.log10(max(value, 1)) * _TO_A_DECADE for value in (shortest, longest + 1))
        exponents = np.arange(np.floor(low), np.ceil(high) + 1)
        return np.unique(np.concatenate([[shortest], np.round(10 ** (exponents / _TO_A_DECADE)), [longest + 1]])
                         .clip(shortest, longest + 1)).astype(np.int64)  # fmt: skip
    width = _round_width((longest + 1 - shortest) / MOST_BINS)
    first = shortest // width * width
    return np.arange(first, longest + 1 + width, width)


def _round_width(least: float) -> int:
    """The smallest of 1, 2, 5, 10, 20, 50 ... that is not below `least`."""
    scale = 1
    while True:
        for step in _STEPS:
            if step * scale >= least:
                return step * scale
        scale *= 10
