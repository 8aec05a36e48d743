"""A LoRA adapter that was trained here and is kept beside its base model: found, checked, named by its digests.

The directory has PEFT's layout, `adapter_config.json` and `adapter_model.safetensors`, so PEFT reads it. A third file,
`protea_ray.json`, says what PEFT's do not: as `base` the sha256 of every file that the adapter was trained on, and
whether that base was quantised. A directory without it is refused, because the same adapter on other weights is another
model and nothing would tell. Needs no torch.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from protea_ray.config.identity import canonical_json
from protea_ray.config.recipe import Quantization, TrainableQuantization
from protea_ray.errors import CheckpointError
from protea_ray.models.families.base import Wanted
from protea_ray.models.misnamed import ADAPTER, adapter_advice
from protea_ray.models.weights import TensorHeader, digest_weights, read_header

ADAPTER_WEIGHTS, MARKER = "adapter_model.safetensors", "protea_ray.json"
PEFT_PREFIX = "base_model.model."  # what PEFT's wrapper puts in front of the names of a masked-language model

_FACTOR = re.compile(r"(.+)\.lora_([AB])\.weight")


@dataclass(frozen=True)
class Adapter:
    """Low-rank updates (alpha / rank) B A of some matrices of one base model.

    `model` and `revision` name the base as `open_checkpoint` takes them; `base` maps its files to their sha256.
    `quantization` is that of the base in training: the updates belong to those rounded matrices and to no others.
    `marker` is what else `protea_ray.json` says of the training, as config.json of a whole model does.
    """

    directory: Path
    model: str
    revision: str | None
    base: Mapping[str, str]
    quantization: Quantization | None
    rank: int
    alpha: float
    marker: Mapping[str, Any]

    @property
    def scale(self) -> float:
        """What the product B A is multiplied by."""
        return self.alpha / self.rank

    @property
    def weights(self) -> Path:
        """The file with the factors A and B."""
        return self.directory / ADAPTER_WEIGHTS


def read_adapter(directory: Path) -> Adapter | None:
    """The adapter of a directory; None for a directory that has none.

    Raises CheckpointError for an adapter that another program wrote, and for files that do not say what they must.
    """
    if not (directory / ADAPTER).is_file():
        return None
    if not (directory / MARKER).is_file():
        raise CheckpointError(str(adapter_advice(directory)))
    settings, marker = (_read_object(directory / name) for name in (ADAPTER, MARKER))
    try:
        made = Adapter(
            directory, str(settings["base_model_name_or_path"]), settings.get("revision"),
            {str(name): str(digest) for name, digest in marker["base"].items()},
            _quantization(marker["quantization"]), int(settings["r"]), float(settings["lora_alpha"]),
            {name: value for name, value in marker.items() if name not in ("base", "quantization")},
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{directory}: {ADAPTER} and {MARKER} are not complete ({type(error).__name__}: {error}). Copy them again."
        ) from error
    if problems := _problems(settings, made):
        raise CheckpointError(f"{directory}: {'; '.join(problems)}. Copy the directory again as it was written.")
    return made


def digest_adapter(adapter: Adapter, wanted: Wanted | None) -> dict[str, str]:
    """Entries of the adapter for a checkpoint's `files`: the sha256 of its weights, and that of what scales them.

    Raises CheckpointError for weights that are not whole and finite, and that do not fit the base.
    """
    tensors = read_header(_present(adapter.weights))
    _require_adapter_fit(adapter, tensors, wanted)
    scaling = canonical_json({"alpha": adapter.alpha, "quantization": adapter.quantization, "rank": adapter.rank})
    digests = digest_weights({adapter.weights: tensors})
    return digests | {"adapter": hashlib.sha256(scaling.encode()).hexdigest()}


def require_base(adapter: Adapter, directory: Path, files: Mapping[str, str]) -> None:
    """Raise CheckpointError with both digests unless `files` of the model in `directory` are what was trained on."""
    changed = [
        f"{name}: trained on {adapter.base.get(name, 'nothing')[:16]}, found {files.get(name, 'nothing')[:16]}"
        for name in sorted(adapter.base.keys() | files.keys())
        if adapter.base.get(name) != files.get(name)
    ]
    if changed:
        raise CheckpointError(
            f"{adapter.directory} is an adapter of another model than {directory} (sha256; {'; '.join(changed)}). Put "
            f"back the files that it was trained on, or name their directory as base_model_name_or_path in "
            f"{adapter.directory / ADAPTER}."
        )


def marked(config: Mapping[str, Any], marker: Mapping[str, Any]) -> dict[str, Any]:
    """config.json of a base with what an adapter's `marker` says of the training after it."""
    held = config.get("protea_ray")
    known = cast("dict[str, Any]", held) if isinstance(held, dict) else {}
    return {**config, "protea_ray": {**known, **marker}}


def target_names(tensors: Sequence[str], wanted: Wanted) -> dict[str, tuple[int, str]]:
    """From the names of an adapter's factors: layer number and name in the layer, by the target's name in PEFT."""
    bare = re.compile(
        re.escape(PEFT_PREFIX) + rf"(?:{re.escape(wanted.prefix)}\.)?{re.escape(wanted.layers)}\.(\d+)\.(.+)"
    )
    names = {match[1] for name in tensors if (match := _FACTOR.fullmatch(name))}
    return {name: (int(found[1]), found[2]) for name in sorted(names) if (found := bare.fullmatch(name))}


def _present(path: Path) -> Path:
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; copy the directory again as it was written")
    return path


def _read_object(path: Path) -> dict[str, Any]:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}. Copy it again.") from None
    if not isinstance(held, dict):
        raise CheckpointError(f"{path} is not a JSON object. Copy it again.")
    return cast("dict[str, Any]", held)


def _quantization(value: Any) -> Quantization | None:
    if value is not None and value not in get_args(TrainableQuantization):
        raise ValueError(f"quantization {value!r} is not null or one of {', '.join(get_args(TrainableQuantization))}")
    return value


def _problems(settings: Mapping[str, Any], adapter: Adapter) -> list[str]:
    """In words, the settings under which the update is not (alpha / rank) B A, or cannot be computed."""
    problems = [] if adapter.rank > 0 else [f"r is {adapter.rank}, not positive"]
    if settings.get("peft_type") != "LORA":
        problems.append(f"peft_type is {settings.get('peft_type')!r}, not 'LORA'")
    fields = ("use_rslora", "use_dora", "fan_in_fan_out", "modules_to_save", "rank_pattern", "alpha_pattern")
    if other := [name for name in fields if settings.get(name)]:
        problems.append(f"{', '.join(other)} of {ADAPTER} were changed since")
    return problems


def _require_adapter_fit(adapter: Adapter, tensors: Sequence[TensorHeader], wanted: Wanted | None) -> None:
    """Raise CheckpointError unless every tensor is a factor of the right size for a matrix of the base's layers."""
    if wanted is None:
        raise CheckpointError(f"{adapter.directory}: the names of this family's matrices are not known; merge it")
    held = {tensor.name: tensor for tensor in tensors}
    found, expected = target_names(list(held), wanted), dict[str, tuple[int, ...]]()
    for name, (layer, part) in found.items():
        out, inner = wanted.sizes.get(f"{wanted.layers}.{layer}.{part}.weight", (0, 0))
        expected |= {f"{name}.lora_A.weight": (adapter.rank, inner), f"{name}.lora_B.weight": (out, adapter.rank)}
    wrong = [
        f"{name} {held[name].shape if name in held else 'is missing'}"
        for name in sorted(expected.keys() | held.keys())
        if name not in held or held[name].shape != expected.get(name)
    ]
    if wrong or not found:
        raise CheckpointError(
            f"{adapter.weights}: {len(wrong)} of {len(held)} tensors do not fit the layers of {adapter.model} with "
            f"rank {adapter.rank} ({', '.join(wrong[:3]) or 'there are none'}). Copy the directory again."
        )
