"""A checksum for every stored row. Lance data files carry none: a flipped bit in a vector reads back as a vector."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa

from protea_ray.sequences.schema import KEY_BYTES

_NUMBERS = ("chunk_start", "chunk_end", "n_residues", "n_residues_seen", "n_windows", "truncated")


def row_checksums(columns: Mapping[str, pa.Array], poolings: Sequence[str], matrices: Sequence[str]) -> np.ndarray:
    """CRC-32 of each row as it is stored: unit, key, numbers, vectors in `poolings`, bytes of `matrices`; (n,) uint32.

    `columns` are arrays by name, `matrices` as large_binary. A row of 1,280 half-precision values takes about 3
    microseconds, matrices about a second a gigabyte.
    """
    units = columns["unit"].to_pylist()
    if not units:
        return np.zeros(0, np.uint32)
    blocks = [_keys(columns["key"]), *(_numbers(columns[n]) for n in _NUMBERS)]
    fixed = np.concatenate([*blocks, *(_vectors(columns[p]) for p in poolings)], axis=1)
    raw, width = memoryview(fixed.tobytes()), fixed.shape[1]
    crcs = [zlib.crc32(raw[i * width : (i + 1) * width], zlib.crc32(u.encode())) for i, u in enumerate(units)]
    for name in matrices:
        crcs = [zlib.crc32(m, crc) for m, crc in zip(_values(columns[name]), crcs, strict=True)]
    return np.array(crcs, np.uint32)


def _keys(keys: pa.Array) -> np.ndarray:
    raw = np.frombuffer(keys.buffers()[1], np.uint8)
    return raw[keys.offset * KEY_BYTES : (keys.offset + len(keys)) * KEY_BYTES].reshape(-1, KEY_BYTES)


def _numbers(values: pa.Array) -> np.ndarray:
    return values.to_numpy(zero_copy_only=False).astype("<i4").view(np.uint8).reshape(len(values), -1)


def _vectors(vectors: pa.Array) -> np.ndarray:
    flat = np.ascontiguousarray(vectors.flatten().to_numpy())
    return flat.view(np.uint8).reshape(len(vectors), -1)


def _values(values: pa.Array) -> list[memoryview]:
    """The bytes of every value of a large_binary array, not copied."""
    ends = np.frombuffer(values.buffers()[1], np.int64)[values.offset : values.offset + len(values) + 1].tolist()
    data = memoryview(values.buffers()[2]) if values.buffers()[2] is not None else memoryview(b"")
    return [data[a:b] for a, b in pairwise(ends)]
