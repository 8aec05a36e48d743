"""Files that torch saved: FastESM's .pth and the folder of fair-esm's scripts/extract.py."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from protea_ray.errors import ConfigError, InputError
from protea_ray.exchange.vector_files import Item, item_of

_POOLED = {"mean_representations": "mean", "bos_representations": "cls"}
_RESIDUES = "representations"


def load(file: Path | IO[bytes], name: str) -> Any:
    """Tensors, and plain containers of them; raises InputError for anything else a pickle could hold."""
    import torch

    mapped = isinstance(file, Path) and zipfile.is_zipfile(file)  # a large .pth is then read as it is used
    try:
        # these formats are nothing but torch's; weights_only refuses every pickle that is more than tensors
        return torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)  # noqa: TID251
    except Exception as error:
        reason = str(error).splitlines()[0][:200]
        raise InputError(f"{name} is not a plain file of tensors, and nothing else is read: {reason}") from error


def as_array(tensor: Any) -> np.ndarray | None:
    """A floating tensor as numpy, bfloat16 as float32; None for anything else."""
    import torch

    if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
        return None
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def pth(path: Path) -> Iterator[Item]:
    """FastESM's {sequence: tensor}. Raises InputError for another content."""
    held = load(path, str(path))
    if not isinstance(held, dict) or not all(isinstance(key, str) for key in held):
        raise InputError(f"{path} holds no mapping from sequences to tensors; only FastESM's .pth is known")
    for sequence, tensor in held.items():
        yield item_of(None, sequence, as_array(tensor), with_ends=True)


def esm_folder(folder: Path, layer: int | None) -> Iterator[Item]:
    """Every .pt below `folder`, by name. `layer` chooses where files hold several; raises ConfigError without it."""
    files = sorted(folder.rglob("*.pt"))
    if not files:
        raise InputError(f"{folder} holds no .pt file")
    for file in files:
        held = load(file, str(file))
        if not isinstance(held, dict) or "label" not in held:
            raise InputError(f"{file} is not what fair-esm's extract.py writes: it has no label")
        yield _esm_item(held, layer, file)


def _esm_item(held: dict[str, Any], layer: int | None, file: Path) -> Item:
    vectors = {
        pooling: array
        for name, pooling in _POOLED.items()
        if (array := as_array(_of_layer(held.get(name), layer, file))) is not None
    }
    residues = as_array(_of_layer(held.get(_RESIDUES), layer, file))
    problem = None if vectors or residues is not None else "unreadable"
    return Item(str(held["label"]), None, vectors, residues, "cut", problem)  # at --truncation_seq_length


def _of_layer(by_layer: Any, layer: int | None, file: Path) -> Any:
    if not isinstance(by_layer, dict) or not by_layer:
        return None
    if layer is None and len(by_layer) == 1:
        return next(iter(by_layer.values()))
    if layer not in by_layer:
        have = ", ".join(str(number) for number in sorted(by_layer))
        raise ConfigError(f"{file.name} holds the layers {have}; name one of them with --layer", where="layer")
    return by_layer[layer]
