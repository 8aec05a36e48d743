"""Checkpoints with fresh weights: a shape by name or by its config.json, written as a directory that anything opens.

| name | layers x width | heads | inner width | parameters |
|---|---|---|---|---|
| small | 4 x 256 | 4 | 1,024 | 3.2 M |
| default | 6 x 320 | 5 | 1,280 | 7.5 M |
| 8M, 35M, 150M, 650M | those of ESM-2 | 20 | 4 x width | |

`small` and `default` have heads of 64: fewer and wider ones are faster than ESM-2's 20 (1.12 times on a CPU with
6 x 320). All named shapes are ESM-2 without token dropout, which only matters where weights came with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from protea_ray.errors import ConfigError

SHAPES: dict[str, tuple[int, int, int]] = {  # layers, width, heads; the inner width is 4 x the width
    "small": (4, 256, 4),
    "default": (6, 320, 5),
    "8M": (6, 320, 20),
    "35M": (12, 480, 20),
    "150M": (30, 640, 20),
    "650M": (33, 1280, 20),
}
MARKER = {"trained": False, "trained_residues": 0}
SPECIALS = {"esm": 4, "esmc": 2}  # what `max_position_embeddings` counts beside the residues
_SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
_ESM2: dict[str, Any] = {
    "model_type": "esm",
    "architectures": ["EsmForMaskedLM"],
    "attention_probs_dropout_prob": 0.0,
    "emb_layer_norm_before": False,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "initializer_range": 0.02,
    "is_folding_model": False,
    "layer_norm_eps": 1e-05,
    "mask_token_id": 32,
    "pad_token_id": 1,
    "position_embedding_type": "rotary",
    "tie_word_embeddings": True,
    "token_dropout": False,
    "vocab_size": 33,
}
_ESMC: dict[str, Any] = {
    "model_type": "esmc", "architectures": ["EsmcForMaskedLM"], "initializer_range": 0.02, "vocab_size": 64,
}  # fmt: skip
_ESM2_TOKENIZER = {
    "tokenizer_class": "EsmTokenizer", "cls_token": "<cls>", "eos_token": "<eos>", "mask_token": "<mask>",
    "pad_token": "<pad>", "unk_token": "<unk>",
}  # fmt: skip


def shape_config(shape: str, crop: int = 1022) -> dict[str, Any]:
    """The config.json of fresh weights: `shape` is a name of SHAPES or the path of a config.json of ESM-2 or ESM-C.

    `crop` is the number of residues that the model will be trained on. What a file does not say is as published.
    Raises ConfigError with every mistake.
    """
    if shape in SHAPES:
        layers, width, heads = SHAPES[shape]
        given: Mapping[str, Any] = dict(zip(_SIZES, (width, layers, heads, 4 * width), strict=True))
    else:
        given = _read(shape)
    config = {**(_ESMC if given.get("model_type") == "esmc" else _ESM2), **given}
    if problems := _problems(config):
        raise ConfigError(problems, where=f"shape {shape}")
    length = crop + SPECIALS[config["model_type"]]
    return config | {"max_position_embeddings": length, "protea_ray": dict(MARKER)}


def write_fresh(directory: Path, shape: str, seed: int, crop: int = 1022) -> Path:
    """Write a checkpoint of `shape` with fresh weights into `directory`, language-model head included; returns it.

    Matrices are drawn from a normal distribution of deviation 0.02, biases are 0 and norms 1, as transformers does: it
    draws them itself. The same seed gives the same bytes under the same torch and transformers. Raises ConfigError as
    `shape_config` does.
    """
    from safetensors.torch import save_file

    config = shape_config(shape, crop)
    directory = Path(directory)
    model = _fresh_model(config, seed, shape)
    directory.mkdir(parents=True, exist_ok=True)
    tied = "lm_head.decoder.weight" if config["model_type"] == "esm" else None
    held = {n: t for n, t in model.state_dict().items() if n != tied and "contact_head" not in n}
    save_file(held, directory / "model.safetensors", metadata={"format": "pt"})
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    _write_vocabulary(directory, config["model_type"])
    return directory


def _read(shape: str) -> Mapping[str, Any]:
    """A config.json; raises ConfigError."""
    path = Path(shape).expanduser()
    if not path.is_file():
        raise ConfigError(f"{shape!r} is neither one of {', '.join(SHAPES)} nor a file", where="shape")
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read as JSON: {error}", where="shape") from None
    if not isinstance(given, dict):
        raise ConfigError(f"{path} is not a JSON object; give a config.json of ESM-2 or ESM-C", where="shape")
    return given


def _problems(config: Mapping[str, Any]) -> list[str]:
    """In words, what is wrong with the config.json of a shape."""
    if config["model_type"] not in SPECIALS:
        return [f"model_type is {config['model_type']!r}; fresh weights are made for esm (ESM-2) and esmc (ESM-C)"]
    sizes: dict[str, Any] = {name: config.get(name) for name in _SIZES}
    wrong = [f"{n} is {v!r}, not a whole number above 0" for n, v in sizes.items() if type(v) is not int or v < 1]
    width, heads = sizes["hidden_size"], sizes["num_attention_heads"]
    if not wrong and (width % heads or width // heads % 2):
        wrong.append(f"hidden_size {width} over num_attention_heads {heads} must be an even whole number")
    if config["model_type"] == "esm" and config["position_embedding_type"] != "rotary":
        wrong.append(f"position_embedding_type is {config['position_embedding_type']!r}, not 'rotary'")
    least = 33
    if type(config["vocab_size"]) is not int or config["vocab_size"] < least:
        wrong.append(f"vocab_size is {config['vocab_size']!r}; the vocabulary has {least} tokens")
    return wrong


def _fresh_model(config: Mapping[str, Any], seed: int, shape: str) -> Any:
    """transformers' class for masked language modelling, initialised by itself from `seed`; raises ConfigError."""
    import torch
    from transformers import EsmcConfig, EsmcForMaskedLM, EsmConfig, EsmForMaskedLM

    kinds: dict[str, tuple[Any, Any]] = {"esm": (EsmConfig, EsmForMaskedLM), "esmc": (EsmcConfig, EsmcForMaskedLM)}
    settings, model = kinds[config["model_type"]]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return model(settings(**config))
        except Exception as error:  # whatever its validators raise for a field of the person's file
            raise ConfigError(f"transformers does not take it: {error}", where=f"shape {shape}") from error


def _write_vocabulary(directory: Path, model_type: str) -> None:
    """The published tokenizer's files, from transformers."""
    if model_type == "esmc":
        from transformers import EsmcTokenizer

        EsmcTokenizer().save_pretrained(directory)
        return
    from transformers.models.esm.configuration_esm import get_default_vocab_list

    (directory / "vocab.txt").write_text("\n".join(get_default_vocab_list()) + "\n", encoding="utf-8")
    (directory / "tokenizer_config.json").write_text(json.dumps(_ESM2_TOKENIZER, indent=2) + "\n", encoding="utf-8")
