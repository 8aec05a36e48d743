"""The model used when none is named: ESM-2's 8M shape with weights that were never trained.

It needs no network and is the same on every machine, byte for byte, so a first run, a test and a
demonstration work anywhere. Its vectors carry no biology; `Checkpoint.trained` is False, so that whoever
uses them can say so. 7.4 M parameters, 30 MB; built in 0.2 s without torch, once per machine.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from protea_ray.models.made_here import made_here

MODEL_NAME = "untrained-esm2-8m"

_LAYERS, _HIDDEN, _FFN = 6, 320, 1280
_SEED = 20240601
_SHA256 = "a51319234ee960e52eb3a533420311aa438a7ebf969ddb18cb7038e11fd213ad"
_VOCABULARY = ["<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWCXBUZO.-", "<null_1>", "<mask>"]
_CONFIG: dict[str, Any] = {
    "architectures": ["EsmModel"],
    "model_type": "esm",
    "protea_ray": {"trained": False},
    "attention_probs_dropout_prob": 0.0,
    "emb_layer_norm_before": False,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "hidden_size": _HIDDEN,
    "initializer_range": 0.02,
    "intermediate_size": _FFN,
    "is_folding_model": False,
    "layer_norm_eps": 1e-05,
    "mask_token_id": _VOCABULARY.index("<mask>"),
    "max_position_embeddings": 1026,
    "num_attention_heads": 20,
    "num_hidden_layers": _LAYERS,
    "pad_token_id": _VOCABULARY.index("<pad>"),
    "position_embedding_type": "rotary",
    "token_dropout": True,
    "vocab_size": len(_VOCABULARY),
}
_TOKENIZER: dict[str, Any] = {
    "tokenizer_class": "EsmTokenizer",
    "cls_token": "<cls>",
    "eos_token": "<eos>",
    "mask_token": "<mask>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
}
_LINEAR = (
    ("attention.self.query", _HIDDEN, _HIDDEN),
    ("attention.self.key", _HIDDEN, _HIDDEN),
    ("attention.self.value", _HIDDEN, _HIDDEN),
    ("attention.output.dense", _HIDDEN, _HIDDEN),
    ("intermediate.dense", _FFN, _HIDDEN),
    ("output.dense", _HIDDEN, _FFN),
)


def is_trained(config: dict[str, Any]) -> bool:
    """False for a config.json that carries this module's marker, wherever its directory was copied to."""
    marker = config.get("protea_ray")
    return not (isinstance(marker, dict) and marker.get("trained") is False)


def untrained_checkpoint() -> Path:
    """Directory of the untrained model, built if it is not there or was damaged."""
    return made_here(f"{MODEL_NAME}-{_SHA256[:8]}", _write, _is_whole, "the untrained model")


def _is_whole(directory: Path) -> bool:
    weights = directory / "model.safetensors"
    names = ("config.json", "vocab.txt", "tokenizer_config.json")
    if not weights.is_file() or not all((directory / name).is_file() for name in names):
        return False
    with weights.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == _SHA256


def _write(directory: Path) -> None:
    (directory / "config.json").write_text(json.dumps(_CONFIG, indent=2) + "\n", encoding="utf-8")
    (directory / "tokenizer_config.json").write_text(json.dumps(_TOKENIZER, indent=2) + "\n", encoding="utf-8")
    (directory / "vocab.txt").write_text("\n".join(_VOCABULARY) + "\n", encoding="utf-8")
    from safetensors.numpy import save_file

    save_file(dict(_tensors()), directory / "model.safetensors", metadata={"format": "pt"})


def _tensors() -> Iterator[tuple[str, np.ndarray]]:
    """Every tensor of transformers' EsmModel without its pooler, initialised as transformers does.

    Matrices have mean 0 and standard deviation 0.02, biases and the padding token's row are 0, layer norms
    are the identity.
    """
    random = np.random.PCG64(_SEED)
    embedding = _matrix(random, len(_VOCABULARY), _HIDDEN)
    embedding[_CONFIG["pad_token_id"]] = 0
    yield "embeddings.word_embeddings.weight", embedding
    for layer in range(_LAYERS):
        prefix = f"encoder.layer.{layer}"
        for name, rows, columns in _LINEAR:
            yield f"{prefix}.{name}.weight", _matrix(random, rows, columns)
            yield f"{prefix}.{name}.bias", np.zeros(rows, "<f4")
        yield from _norm(f"{prefix}.attention.LayerNorm")
        yield from _norm(f"{prefix}.LayerNorm")
    yield from _norm("encoder.emb_layer_norm_after")
    # a part of the state dict: transformers reports it as missing otherwise
    yield "rotary_embeddings.inv_freq", np.array([10.0 ** (-k / 2) for k in range(8)], "<f4")
    yield "contact_head.regression.weight", _matrix(random, 1, _LAYERS * _CONFIG["num_attention_heads"])
    yield "contact_head.regression.bias", np.zeros(1, "<f4")


def _norm(name: str) -> Iterator[tuple[str, np.ndarray]]:
    yield f"{name}.weight", np.ones(_HIDDEN, "<f4")
    yield f"{name}.bias", np.zeros(_HIDDEN, "<f4")


def _matrix(random: np.random.PCG64, rows: int, columns: int) -> np.ndarray:
    """(rows, columns) float32, near normal around 0."""
    drawn = near_normal(random, rows * columns, _CONFIG["initializer_range"])
    return drawn.astype("<f4").reshape(rows, columns)


def near_normal(random: np.random.PCG64, count: int, deviation: float) -> np.ndarray:
    """(count,) float64, near normal with this standard deviation around 0, the same bits on every machine.

    numpy promises its bit streams for ever but not its distributions, so each value is the sum of the four
    16-bit parts of one draw (Irwin-Hall): integers until the one multiplication at the end.
    """
    draws = random.random_raw(count)
    centred = np.full(draws.shape, -2 * 0xFFFF, np.int64)
    for shift in (0, 16, 32, 48):
        centred += ((draws >> np.uint64(shift)) & np.uint64(0xFFFF)).astype(np.int64)
    return centred * (deviation / math.sqrt(4 * (2.0**32 - 1) / 12))
