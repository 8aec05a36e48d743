"""Tiny training runs: two layers of 16, packs of 96 tokens, four packs a step, twenty steps in a second or two."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file

from protea_ray.config.training import TrainingConfig, TrainingOptions, training_config
from protea_ray.models.families.vocabulary import AMINO_ACIDS
from protea_ray.train.proteins import Proteins, from_table
from protea_ray.train.train_here import TrainingSummary, train_here

STEP_TOKENS, STEPS = 384, 20
VOCABULARY = ["<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWCXBUZO.-", "<null_1>", "<mask>"]
SHAPE = {
    "model_type": "esm", "architectures": ["EsmForMaskedLM"], "hidden_size": 16, "num_hidden_layers": 2,
    "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 33, "mask_token_id": 32, "pad_token_id": 1,
    "max_position_embeddings": 1026, "position_embedding_type": "rotary", "token_dropout": False,
    "emb_layer_norm_before": False, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
    "layer_norm_eps": 1e-5, "initializer_range": 0.02, "hidden_act": "gelu", "is_folding_model": False,
}  # fmt: skip


def proteins(n: int = 120, seed: int = 0) -> Proteins:
    """Random proteins of 10 to 60 residues, every tenth of them for validation."""
    rng = np.random.default_rng(seed)
    letters = np.array(list(AMINO_ACIDS))
    texts = ["".join(rng.choice(letters, rng.integers(10, 60))) for _ in range(n)]
    return from_table(pa.table({
        "id": [f"p{i}" for i in range(n)], "sequence": texts, "cluster": np.arange(n),
        "is_validation": np.arange(n) % 10 == 0,
    }))  # fmt: skip


def recipe(place: Path, **fields: Any) -> TrainingConfig:
    """Twenty steps of fresh weights in float32, a validation each fifth; the shape's file is written to `place`."""
    place.mkdir(parents=True, exist_ok=True)
    shape = place / "shape.json"
    shape.write_text(json.dumps(SHAPE))
    return training_config({
        "shape": str(shape), "tokens": STEPS * STEP_TOKENS, "crop": 40, "pack_tokens": 96, "step_tokens": STEP_TOKENS,
        "dtype": "float32", "warmup_steps": 3, "learning_rate": 1e-3, "validation_every": 5, "optimiser": "adamw",
        "dropout": 0.0, "ema": 0.0, **fields,
    })  # fmt: skip


def train(
    config: TrainingConfig, out: Path, report: Callable[[Mapping[str, Any]], None] | None = None, **options: Any
) -> TrainingSummary:
    """Train on `proteins()` in this process with one thread."""
    torch.set_num_threads(1)
    return train_here(config, TrainingOptions(device="cpu", **options), proteins(), out, report=report)


def weights(directory: Path) -> dict[str, torch.Tensor]:
    """The tensors of a model's file."""
    return load_file(directory / "model.safetensors")


def newest(out: Path) -> Path:
    """The last checkpoint of a run."""
    return sorted((out / "checkpoints").iterdir())[-1]


def same(one: Path, other: Path) -> bool:
    """Whether two models have the same weights, bit for bit."""
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def module_arguments(config: TrainingConfig, place: Path) -> list[str]:
    """Write `proteins()` to a table in `place`; the arguments of `python -m protea_ray.train` for it and place/out."""
    data, everything, table = proteins(), range(len(proteins())), place / "proteins.parquet"
    pq.write_table(pa.table({
        "id": data.ids(everything), "sequence": data.sequences(everything), "cluster": data.cluster,
        "is_validation": data.split,
    }), table)  # fmt: skip
    fields = {k: v for k, v in config.model_dump().items() if v is not None and k != "lora_targets"}
    given = [part for name, value in fields.items() for part in ("--set", f"{name}={json.dumps(value)}")]
    return [str(table), str(place / "out"), "--set", "run.device=cpu", *given]
