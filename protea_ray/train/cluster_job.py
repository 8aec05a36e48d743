"""Proteins that share words, as a Ray Data job: for more proteins than one process can hold the words of.

Three kinds of tasks, each in bounded memory: `_Words` reads a stretch of proteins and sorts their words into buckets,
`_pairs` takes a bucket, which holds all proteins of each of its words, and sorts pairs into parts, `_relatives` takes
a part, which holds all occurrences of each of its pairs. A stretch, bucket or part travels as one row whose column
`codes` is a list, so that Ray moves rows and not numbers. Only pairs of relatives come to the driver.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa

from protea_ray.sequences.words import distinct_words, pairs_of_words, relatives_of_pairs
from protea_ray.train.proteins import Proteins

_STRETCH = 2 << 20  # residues that one task reads: 16 MB of words
_BUCKET = 8 << 20  # words of one bucket: 64 MB, and about as many pairs
_PART = "part"
_CODES = "codes"


def relatives_by_ray(proteins: Proteins, stretch: int = _STRETCH, bucket: int = _BUCKET) -> np.ndarray:
    """Pairs (pairs, 2) of proteins that share words, as `sequences.words.relatives` has them, through Ray.

    `stretch` and `bucket` are in residues. Ray is joined or started as by `embed`.
    """
    import ray.data

    from protea_ray.cluster.connect import connect
    from protea_ray.config.run import RunOptions

    connect(RunOptions())
    total = int(proteins.lengths.sum())
    buckets = -(-total // bucket)
    edges = np.searchsorted(np.cumsum(proteins.lengths), np.arange(0, total, stretch))
    spans = [{"first": a, "last": b} for a, b in pairwise([*np.unique(edges).tolist(), len(proteins)]) if a < b]
    rows = (
        ray.data.from_items(spans, override_num_blocks=len(spans))
        .map_batches(_Words(proteins, buckets), batch_format="pyarrow", batch_size=1)
        .groupby(_PART, num_partitions=buckets)
        .map_groups(lambda words: _pairs(words, buckets), batch_format="pyarrow")
        .groupby(_PART, num_partitions=buckets)
        .map_groups(_relatives, batch_format="pyarrow")
    )
    found = [np.asarray(row[_CODES], np.int64) for row in rows.iter_rows()]
    codes = np.sort(np.concatenate(found)) if found else np.zeros(0, np.int64)
    return np.stack([codes >> 32, codes & 0xFFFFFFFF], axis=1)


class _Words:
    """Reads the words of a span of proteins; one row for each bucket."""

    def __init__(self, proteins: Proteins, buckets: int) -> None:
        self._letters = proteins.letters
        self._lengths = proteins.lengths
        self._buckets = buckets

    def __call__(self, span: pa.Table) -> pa.Table:
        first, last = span["first"][0].as_py(), span["last"][0].as_py()
        letters = np.concatenate([self._letters.of(example) for example in range(first, last)])
        offsets = np.concatenate([[0], np.cumsum(self._lengths[first:last])])
        words = distinct_words(letters, offsets, first)
        return _rows(words, words >> 32, self._buckets)


def _pairs(bucket: pa.Table, parts: int) -> pa.Table:
    """Pairs of a bucket's words; one row for each part."""
    pairs = np.concatenate(list(pairs_of_words(np.sort(_numbers(bucket)))))
    return _rows(pairs, pairs >> 32, parts)


def _relatives(part: pa.Table) -> pa.Table:
    """Pairs of a part that occur often enough, as one row."""
    found = relatives_of_pairs(_numbers(part))
    return _rows(found, np.zeros_like(found), 1)


def _numbers(rows: pa.Table) -> np.ndarray:
    return np.concatenate([chunk.flatten().to_numpy() for chunk in rows[_CODES].chunks])


def _rows(codes: np.ndarray, keys: np.ndarray, parts: int) -> pa.Table:
    """Codes as one row for each of `parts`, by the key of each code."""
    part = keys % parts
    order = np.argsort(part, kind="stable")
    offsets = np.searchsorted(part[order], np.arange(parts + 1))
    lists = pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), pa.array(codes[order]))
    return pa.table({_PART: pa.array(np.arange(parts)), _CODES: lists})
