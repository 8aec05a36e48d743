"""Training of low-rank updates in place of the weights (LoRA), on a float base or on one in few bits (QLoRA).

`add_adapters` freezes a model and puts LoRA layers on some of its matrices: query, key and value unless told otherwise,
which is where rank 4 and more is enough for ESM-2 (Sledzieski et al. 2024). `Updates.write` keeps them as a directory
in PEFT's layout that `open_checkpoint` opens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from protea_ray.config.recipe import Quantization
from protea_ray.encoder import quantize
from protea_ray.encoder.lora import LoRA, place_in
from protea_ray.encoder.packed_linear import PackedLinear
from protea_ray.errors import CheckpointError, ConfigError, EncoderError
from protea_ray.models.adapters import ADAPTER_WEIGHTS, MARKER, PEFT_PREFIX
from protea_ray.models.checkpoint import Checkpoint, read_config
from protea_ray.models.families import recognise
from protea_ray.models.families.base import Wanted
from protea_ray.models.misnamed import ADAPTER
from protea_ray.train.masked_model import MaskedModel

TARGETS: Mapping[str, Mapping[str, tuple[str, ...]]] = {  # family: target: names in a layer's files
    "esm2": {
        "query": ("attention.self.query",), "key": ("attention.self.key",), "value": ("attention.self.value",),
        "output": ("attention.output.dense",), "ffn": ("intermediate.dense", "output.dense"),
    },
    "esmc": {
        "query": ("self_attn.q_proj",), "key": ("self_attn.k_proj",), "value": ("self_attn.v_proj",),
        "output": ("self_attn.o_proj",), "ffn": ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"),
    },
}  # fmt: skip


@dataclass(frozen=True)
class Updates:
    """The LoRA layers of a model in training by layer number and name in the layer, and the base they belong to."""

    base: Checkpoint
    wanted: Wanted
    quantization: Quantization | None
    rank: int
    alpha: float
    layers: Mapping[tuple[int, str], LoRA]

    def tensors(self) -> dict[str, Tensor]:
        """A and B of every layer, float32, by PEFT's names; the parameters themselves, not copies."""
        held: dict[str, Tensor] = {}
        for (number, part), update in self.layers.items():
            name = f"{PEFT_PREFIX}{self.wanted.prefix}.{self.wanted.layers}.{number}.{part}"
            held |= {f"{name}.lora_A.weight": update.lora_A, f"{name}.lora_B.weight": update.lora_B}
        return held

    def write(self, directory: Path, tensors: Mapping[str, Tensor], marker: Mapping[str, Any]) -> Path:
        """Write `tensors` of `tensors()` into `directory`: PEFT's two files, and ours with `marker` and the base."""
        directory.mkdir(parents=True, exist_ok=True)
        kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(kept, directory / ADAPTER_WEIGHTS, metadata={"format": "pt"})
        _write_json(directory / ADAPTER, self._settings())
        told = {**marker, "trained": True, "base": self.base.files, "quantization": self.quantization}
        _write_json(directory / MARKER, told)
        return directory

    def read(self, directory: Path) -> None:
        """Take A and B from a directory that `write` wrote for the same model, as a resume does."""
        held, own = load_file(directory / ADAPTER_WEIGHTS), self.tensors()
        if held.keys() != own.keys():
            raise CheckpointError(f"{directory} is an adapter of other matrices than those that are trained")
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(held[name])

    def _settings(self) -> dict[str, Any]:
        """adapter_config.json; targets are a pattern of whole names, because `dense` alone is in the head too."""
        parts = "|".join(sorted({part.replace(".", r"\.") for _, part in self.layers}))
        stem = f"{self.wanted.prefix}.{self.wanted.layers}".replace(".", r"\.")
        found = self.base
        return {
            "peft_type": "LORA", "task_type": None, "inference_mode": True, "bias": "none", "fan_in_fan_out": False,
            "base_model_name_or_path": found.model if found.revision else str(found.path),
            "revision": found.revision, "r": self.rank, "lora_alpha": self.alpha, "lora_dropout": 0.0,
            "target_modules": rf"{stem}\.\d+\.({parts})", "modules_to_save": None, "use_rslora": False,
            "use_dora": False,
        }  # fmt: skip


def add_adapters(
    model: MaskedModel, base: Checkpoint, *, rank: int = 8, alpha: float = 16.0,
    targets: Sequence[str] = ("query", "key", "value"), quantization: Quantization | None = None, seed: int = 0,
) -> Updates:  # fmt: skip
    """Freeze `model`, which was loaded from `base`, and add trainable updates that are 0; in place.

    The matrices of its layers are quantised first where `quantization` says how. Raises ConfigError for targets that
    the family does not have, CheckpointError for a base that must not be trained on, and EncoderError for a matrix
    through which no gradient passes and a missing package.
    """
    names, wanted = require_adaptable(base, rank, targets)
    layers = model.family.stack(model.get_submodule(model.prefix)).layers
    if quantization:
        quantize.quantize(layers, quantize.method(quantization, torch.float32), model.device)
    model.requires_grad_(False)
    random = torch.Generator().manual_seed(seed)
    made: dict[tuple[int, str], LoRA] = {}
    for number, layer in enumerate(layers):
        for part in names:
            place = place_in(layer, part)
            linear = layer.get_submodule(place)
            _require_gradient(linear, f"layer {number} {part}")
            made[number, part] = LoRA.fresh(linear, rank, alpha, random)
            layer.set_submodule(place, made[number, part])
    return Updates(base, wanted, quantization, rank, alpha, made)


def require_adaptable(base: Checkpoint, rank: int, targets: Sequence[str]) -> tuple[list[str], Wanted]:
    """Names in a layer of the matrices that `targets` stand for, each once, and the names of the base's tensors.

    Raises ConfigError for targets and a rank that the model does not have, CheckpointError for a base on which nothing
    can be learned.
    """
    if base.adapter:
        raise CheckpointError(f"{base.model} is an adapter itself; merge it first, and train on the merged directory")
    if not base.facts.has_lm_head:
        raise CheckpointError(
            f"{base.model} has no language-model head, and an adapter trains none. Use the files of the masked-LM "
            "model, or train all weights"
        )
    config = read_config(base.path)
    wanted = recognise(config, base.path, base.facts.family).wanted(config)
    known = TARGETS.get(base.facts.family)
    if known is None or wanted is None:
        raise ConfigError(f"a {base.facts.family} model takes no adapter here; use {', '.join(TARGETS)}", where="lora")
    if unknown := [target for target in targets if target not in known]:
        raise ConfigError(f"lora_targets: no {', '.join(unknown)}; choose from {', '.join(known)}", where="lora")
    parts = [part for target in dict.fromkeys(targets) for part in known[target]]
    most = min(side for part in parts for side in wanted.sizes[f"{wanted.layers}.0.{part}.weight"])
    if not 0 < rank <= most:
        raise ConfigError(f"lora_rank: {rank} is not between 1 and {most}, a side of a matrix", where="lora")
    return parts, wanted


def _require_gradient(linear: nn.Module, name: str) -> None:
    """Raise EncoderError unless `linear` is a float matrix or one of ours in few bits."""
    weight = getattr(linear, "weight", None)
    if not isinstance(linear, PackedLinear) and type(weight) is not nn.Parameter:
        raise EncoderError(
            f"{name} is quantised in a way that no gradient passes through ({type(weight).__name__}). Train on the "
            "float model (adapter lora), or on int4 or hqq:B (qlora)"
        )


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
