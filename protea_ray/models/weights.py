"""Weights that may be used: whole, finite, of the right shape, and the same bytes as before.

transformers loads much that it should not: it fills missing tensors with random numbers, and neither a flipped bit nor
a NaN is an error. So the driver reads every weight file once before any actor starts, without torch.

A safetensors file is 8 bytes that give the length of a header, the header in JSON (names, dtypes, shapes and offsets of
the tensors), then the tensors end to end. Headers are read first, in milliseconds, and every mistake that they show is
an error before a byte is hashed. Then one pass over the tensors computes the sha256 and looks for NaN and infinity.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from protea_ray.errors import CheckpointError
from protea_ray.models.misnamed import INDEX, SINGLE, disguise, without_weights

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

FEATURE_MAPS = "feature_maps.safetensors"  # beside the weights; transformers does not read it
MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors library itself
ITEM_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip

_CHUNK = 1 << 20  # bytes hashed and tested at a time; stays in a core's cache
_EXPONENT = {  # all exponent bits set: NaN or infinity
    "F64": ("<u8", 0x7FF0_0000_0000_0000),
    "F32": ("<u4", 0x7F80_0000),
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
}


@dataclass(frozen=True)
class TensorHeader:
    """One tensor: `begin` and `end` are byte offsets from the start of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


Headers = Mapping[Path, tuple[TensorHeader, ...]]


def check_weights(directory: Path) -> dict[str, str]:
    """Check every weight file that a load of `directory` reads; returns its sha256 (hex) by file name.

    Raises CheckpointError as `read_headers` and `digest_weights` do. Other files of the directory are not looked at.
    """
    return digest_weights({**read_headers(directory), **map_headers(directory)})


def read_headers(directory: Path) -> Headers:
    """The tensors of every weight file that a load of `directory` reads, in milliseconds.

    Raises CheckpointError for pickles only, a missing shard, and a truncated or garbled file.
    """
    headers = {file: read_header(file) for file in weight_files(directory)}
    _check_index(directory, headers)
    return headers


def map_headers(directory: Path) -> Headers:
    """The tensors of the file of feature maps in `directory`, nothing where it has none."""
    path = directory / FEATURE_MAPS
    return {path: read_header(path)} if path.is_file() else {}


def digest_weights(headers: Headers) -> dict[str, str]:
    """sha256 (hex) of every file by its name; raises CheckpointError for NaN or infinity in any tensor."""
    with ThreadPoolExecutor(max_workers=min(len(headers), os.cpu_count() or 1)) as pool:
        digests = pool.map(lambda item: _digest_finite(*item), headers.items())
        return {file.name: digest for file, digest in zip(headers, digests, strict=True)}


def verify_digests(directory: Path, expected: Mapping[str, str], adapter: Path | None = None) -> None:
    """Raise CheckpointError unless the weight files in `directory` have the recorded sha256 `expected`.

    `expected` is the `files` of a Checkpoint; entries that are no weight files are not compared. `adapter` is the
    weight file of an adapter.
    """
    recorded = {name: digest for name, digest in expected.items() if name.endswith(".safetensors")}
    held = check_weights(directory)
    if adapter:
        held |= digest_weights({adapter: read_header(adapter)})
    changed = [
        f"{name}: recorded {recorded.get(name, 'nothing')[:16]}, found {held.get(name, 'nothing')[:16]}"
        for name in sorted(recorded.keys() | held.keys())
        if recorded.get(name) != held.get(name)
    ]
    if changed:
        raise CheckpointError(
            f"{directory}: the weights are not those that were recorded (sha256; {'; '.join(changed)}). "
            "Restore the recorded files, or use a new store: vectors of other weights cannot be compared."
        )


def weight_files(directory: Path) -> tuple[Path, ...]:
    """The files that transformers would read: `model.safetensors`, else the shards that the index names."""
    if (directory / SINGLE).is_file():
        return (directory / SINGLE,)
    if (directory / INDEX).is_file():
        names = sorted(set(_weight_map(directory).values()))
        missing = [name for name in names if not (directory / name).is_file()]
        if missing:
            raise CheckpointError(
                f"{directory}: {len(missing)} of {len(names)} shards named in {INDEX} are missing: "
                f"{', '.join(missing[:5])}. Download or copy them again."
            )
        return tuple(directory / name for name in names)
    raise CheckpointError(without_weights(directory))


def read_header(path: Path) -> tuple[TensorHeader, ...]:
    """The tensors of a safetensors file in file order; raises CheckpointError when the file is not whole."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(MAX_HEADER_BYTES, max(size - 8, 0)):
            raise _garbled(path, f"its first 8 bytes promise a header of {length} bytes in a file of {size}")
        text = file.read(length)
    tensors = _parse(path, text, 8 + length)
    _check_extent(path, tensors, size, 8 + length)
    return tensors


def _parse(path: Path, text: bytes, start: int) -> tuple[TensorHeader, ...]:
    try:
        entries = json.loads(text)
        named = ((name, entry) for name, entry in entries.items() if name != "__metadata__")
        tensors = [_tensor(name, entry, start) for name, entry in named]
    except (UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _garbled(path, "its header is not a JSON object of tensors") from None
    return tuple(sorted(tensors, key=lambda tensor: (tensor.begin, tensor.end)))


def _tensor(name: str, entry: dict[str, Any], start: int) -> TensorHeader:
    begin, end = (int(offset) for offset in entry["data_offsets"])
    shape = tuple(int(side) for side in entry["shape"])
    return TensorHeader(name, str(entry["dtype"]), shape, start + begin, start + end)


def _check_extent(path: Path, tensors: tuple[TensorHeader, ...], size: int, start: int) -> None:
    """Raise CheckpointError unless the tensors follow each other without a gap, each as long as its shape says."""
    position = start
    for tensor in tensors:
        if tensor.dtype not in ITEM_BYTES:
            raise CheckpointError(
                f"{path}: tensor {tensor.name} has dtype {tensor.dtype}; only plain float weights are "
                "read. Use the unquantised checkpoint (and --quantization to quantise it here)."
            )
        length = math.prod(tensor.shape) * ITEM_BYTES[tensor.dtype]
        if tensor.begin != position or tensor.end - tensor.begin != length or min(tensor.shape, default=0) < 0:
            raise _garbled(path, f"the offsets of tensor {tensor.name} do not fit its shape {tensor.shape}")
        position = tensor.end
    if position > size:
        raise CheckpointError(
            f"{path} is truncated: its header promises {position} bytes, the file has {size}. "
            "Delete it and download or copy it again."
        )
    if position < size:
        raise _garbled(path, f"{size - position} bytes follow its last tensor")


def _garbled(path: Path, why: str) -> CheckpointError:
    if what := disguise(path):
        return CheckpointError(f"{path} is not a safetensors file: it {what}")
    return CheckpointError(f"{path} is not a safetensors file: {why}. Delete it and download or copy it again.")


def _weight_map(directory: Path) -> dict[str, str]:
    """Tensor name to shard name, from the index; shards are plain names, so nothing outside is ever read."""
    try:
        entries = json.loads((directory / INDEX).read_text(encoding="utf-8"))["weight_map"]
        pairs = {str(name): str(shard) for name, shard in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CheckpointError(f"{directory / INDEX} is not an index of shards; download it again") from None
    if bad := [s for s in pairs.values() if Path(s).name != s or not s.endswith(".safetensors")]:
        raise CheckpointError(f"{directory / INDEX} names {bad[0]!r}, which is not a safetensors file beside it")
    if not pairs:
        raise CheckpointError(f"{directory / INDEX} names no tensors; download it again")
    return pairs


def _check_index(directory: Path, headers: Headers) -> None:
    """Raise CheckpointError unless every tensor of the index is in the shard that the index names."""
    if (directory / SINGLE).is_file():
        return
    held = {(tensor.name, file.name) for file, tensors in headers.items() for tensor in tensors}
    absent = [pair for pair in _weight_map(directory).items() if pair not in held]
    if absent:
        name, shard = absent[0]
        raise CheckpointError(
            f"{directory}: {len(absent)} tensors of {INDEX} are not in their shards, such as {name} in "
            f"{shard}. The shards are of different versions; download all of them again."
        )


def _digest_finite(path: Path, tensors: tuple[TensorHeader, ...]) -> str:
    """sha256 of the file, read once; raises CheckpointError at the first tensor that is not finite."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        digest.update(file.read(tensors[0].begin if tensors else path.stat().st_size))
        for tensor in tensors:
            if not _all_finite(file, tensor, digest):
                raise CheckpointError(
                    f"{path}: tensor {tensor.name} holds NaN or infinity, so every vector would too. "
                    "Download or copy the checkpoint again; if it stays, it is broken at its source."
                )
    return digest.hexdigest()


def _all_finite(file: BinaryIO, tensor: TensorHeader, digest: Hash) -> bool:
    """Whether no value has all exponent bits set; reads the tensor's bytes from `file` into `digest`."""
    unsigned, exponent = _EXPONENT.get(tensor.dtype, ("u1", 0))
    left = tensor.end - tensor.begin
    while left:
        chunk = file.read(min(_CHUNK, left))
        if not chunk:
            raise CheckpointError(f"{file.name} became shorter while it was read; is it still being copied?")
        digest.update(chunk)
        left -= len(chunk)
        if exponent and bool(((np.frombuffer(chunk, unsigned) & exponent) == exponent).any()):
            return False
    return True
