"""What a safetensors file says it holds: names, dtypes and shapes, without torch and without the tensors.

A file is 8 bytes of length, that many bytes of JSON, then the tensors end to end. A header is read in
milliseconds, so everything that can be refused from headers is refused before a byte is hashed.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protea_ray.errors import CheckpointError

MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors library itself
ITEM_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip


@dataclass(frozen=True)
class TensorHeader:
    """One tensor: `begin` and `end` are byte offsets from the start of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


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
    """The tensors follow each other without a gap, each as long as its shape, up to the last byte."""
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
    return CheckpointError(
        f"{path} is not a safetensors file: {why}. Delete it and download or copy it again "
        "(a git checkout without git-lfs leaves text pointers in place of weights)."
    )
