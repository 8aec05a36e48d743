"""An adapter and its base as one checkpoint: W + (alpha / rank) B A in float32, and an ordinary directory.

An adapter that was trained on few bits belongs to the rounded matrices. On the float ones it is another function, so it
is merged into what the bits decode to, and only where that is asked for.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from protea_ray.encoder import lora, quantize
from protea_ray.encoder.attention import register
from protea_ray.errors import CheckpointError, ConfigError
from protea_ray.models.adapters import ADAPTER_WEIGHTS, Adapter, marked
from protea_ray.models.checkpoint import Checkpoint, open_checkpoint, read_config
from protea_ray.models.families import recognise
from protea_ray.models.families.base import Family, Wanted
from protea_ray.models.fit import in_module
from protea_ray.models.hub import DOWNLOADED
from protea_ray.models.misnamed import INDEX, SINGLE
from protea_ray.models.weights import FEATURE_MAPS, weight_files

Into = Literal["float", "dequantised"]


def merge(directory: Path, out: Path, into: Into = "float") -> Path:
    """Write the checkpoint that does what the adapter in `directory` and its base do together; returns `out`.

    `into` is float or dequantised, the matrices in few bits that an adapter was trained on, decoded. The whole model is
    held in memory. Raises ConfigError for an `out` with content and for an `into` that would be another function,
    CheckpointError for files that must not be used.
    """
    directory, out = Path(directory), Path(out)
    found = open_checkpoint(str(directory))
    if found.adapter is None:
        raise ConfigError(f"{directory} is a whole model; name the directory of an adapter", where="merge")
    _require_same_function(found.adapter, into)
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out} is not empty; name a directory that is not there yet", where="merge")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        whole = Path(scratch) / out.name
        whole.mkdir()
        _write(whole, found, found.adapter, into)
        whole.replace(out)
    return out


def _require_same_function(adapter: Adapter, into: Into) -> None:
    if adapter.quantization and into == "float":
        raise ConfigError(
            f"{adapter.directory} was trained on a base in {adapter.quantization}; added to the float weights it is "
            "another function. Merge into the decoded weights (merge dequantised), or embed the adapter's directory "
            "as it is",
            where="merge",
        )
    if adapter.quantization is None and into == "dequantised":
        raise ConfigError(f"{adapter.directory} was trained on float weights; merge it into those", where="merge")


def _write(out: Path, found: Checkpoint, adapter: Adapter, into: Into) -> None:
    config = read_config(found.path)
    family = recognise(config, found.path, found.facts.family)
    wanted = family.wanted(config)
    if wanted is None:
        raise CheckpointError(f"{found.path}: the names of this family's matrices are not known")
    for path in found.path.iterdir():
        if any(fnmatch(path.name, pattern) for pattern in DOWNLOADED) and not _is_rewritten(path.name):
            shutil.copyfile(path, out / path.name)
    if adapter.marker.get("attention") == "hedgehog":  # maps of weights that were trained otherwise fit no more
        shutil.copyfile(found.path / FEATURE_MAPS, out / FEATURE_MAPS)
    tensors = _tensors(found.path)
    by_module = {in_module(name, wanted): name for name in tensors}
    if into == "dequantised":
        for name, matrix in _decoded(family, found.path, wanted, str(adapter.quantization)):
            tensors[by_module[name]] = matrix
    for number, part, a, b in lora.factors(adapter, wanted):
        name = by_module[f"{wanted.layers}.{number}.{part}.weight"]
        tensors[name] = lora.merged(tensors[name], a, b, adapter.scale)
    save_file(tensors, out / SINGLE, metadata={"format": "pt"})
    parent = {"model": adapter.model, "revision": adapter.revision, "files": dict(adapter.base)}
    origin = {"parent": parent, "adapter": found.files[ADAPTER_WEIGHTS], "merged_into": into}
    told = marked(config, {**adapter.marker, **origin})
    (out / "config.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def _is_rewritten(name: str) -> bool:
    return name in ("config.json", INDEX) or name.endswith(".safetensors")


def _tensors(directory: Path) -> dict[str, Tensor]:
    """Every tensor of a checkpoint but its contact head, which was fitted to attention that the adapter changes."""
    held = {name: tensor for file in weight_files(directory) for name, tensor in load_file(file).items()}
    return {name: tensor for name, tensor in held.items() if "contact_head." not in name}


def _decoded(family: Family, directory: Path, wanted: Wanted, kind: str) -> Iterator[tuple[str, Tensor]]:
    """Name in the module and float32 values of every matrix of the layers, after quantisation of that kind."""
    register()
    layers = family.stack(family.load(directory, torch.float32)).layers
    quantize.quantize(layers, quantize.method(kind, torch.float32), torch.device("cpu"))
    for number, layer in enumerate(layers):
        stem = f"{wanted.layers}.{number}."
        for name, size in wanted.sizes.items():
            if name.startswith(stem) and len(size) > 1:
                part = name.removeprefix(stem).removesuffix(".weight")
                matrix: Any = layer.get_submodule(lora.place_in(layer, part))
                yield name, matrix.matrix().contiguous()
