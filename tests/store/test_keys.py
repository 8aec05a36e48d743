"""Joining by key agrees with a dictionary, whatever the keys."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from protea_ray.store.keys import KeyIndex, join, key_array


def random_keys(n: int, distinct: int, shared_half: bool, seed: int) -> list[bytes]:
    rng = np.random.default_rng(seed)
    pool = [(b"\0" * 8 if shared_half else rng.bytes(8)) + rng.bytes(8) for _ in range(distinct)]
    return [pool[i] for i in rng.integers(0, distinct, n)]


@pytest.mark.parametrize("shared_half", [False, True])
def test_a_join_finds_every_pair_in_order(shared_half: bool) -> None:
    right = random_keys(300, 60, shared_half, 1)
    left = random_keys(200, 60, shared_half, 1)[::-1] + random_keys(20, 20, shared_half, 2)
    rows, others = join(pa.chunked_array([key_array(left)]), pa.chunked_array([key_array(right)]))
    expected = [(i, j) for i, a in enumerate(left) for j, b in enumerate(right) if a == b]
    assert list(zip(rows.tolist(), others.tolist(), strict=True)) == expected


def test_slices_and_chunks_are_read_right() -> None:
    keys = random_keys(50, 50, False, 3)
    sliced = key_array(keys)[10:20]
    assert KeyIndex(sliced).contains(pa.chunked_array([key_array(keys[:15]), key_array(keys[15:])])).tolist() == [
        key in keys[10:20] for key in keys
    ]


def test_nothing_contains_nothing() -> None:
    empty = key_array([])
    assert KeyIndex(empty).contains(key_array([b"x" * 16])).tolist() == [False]
    assert KeyIndex(key_array([b"x" * 16])).contains(empty).tolist() == []


def test_trailing_zero_bytes_count() -> None:
    index = KeyIndex(key_array([b"a" * 15 + b"\0"]))
    assert index.contains(key_array([b"a" * 16, b"a" * 15 + b"\0"])).tolist() == [False, True]
