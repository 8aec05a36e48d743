"""Shared by the checkpoint tests: a tiny ESM-shaped checkpoint written without this package or torch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from protea_ray.errors import CheckpointError
from protea_ray.models.checkpoint import open_checkpoint

LETTERS = [*"LAGVSERTIDPKQNFYMHWCXBUZO.-"]
VOCABULARY = ["<cls>", "<pad>", "<eos>", "<unk>", *LETTERS, "<null_1>", "<mask>"]
CONFIG = {
    "model_type": "esm", "architectures": ["EsmModel"], "vocab_size": 33, "hidden_size": 8,
    "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32, "layer_norm_eps": 1e-5,
    "position_embedding_type": "rotary", "token_dropout": True, "emb_layer_norm_before": False,
    "pad_token_id": 1, "mask_token_id": 32, "max_position_embeddings": 1026,
    "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
}  # fmt: skip


def tensors(layers: int = 3, hidden: int = 8, ffn: int = 32, seed: int = 0) -> dict[str, np.ndarray]:
    """The names and shapes of transformers' EsmModel, filled with small random numbers."""
    random = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {"embeddings.word_embeddings.weight": (33, hidden)}
    for i in range(layers):
        linear = {
            "attention.self.query": (hidden, hidden), "attention.self.key": (hidden, hidden),
            "attention.self.value": (hidden, hidden), "attention.output.dense": (hidden, hidden),
            "intermediate.dense": (ffn, hidden), "output.dense": (hidden, ffn),
        }  # fmt: skip
        norms = dict.fromkeys(("attention.LayerNorm", "LayerNorm"), (hidden,))
        for name, shape in (linear | norms).items():
            shapes[f"encoder.layer.{i}.{name}.weight"] = shape
            shapes[f"encoder.layer.{i}.{name}.bias"] = shape[:1]
    shapes |= {f"encoder.emb_layer_norm_after.{kind}": (hidden,) for kind in ("weight", "bias")}
    shapes |= {"contact_head.regression.weight": (1, layers * 2), "contact_head.regression.bias": (1,)}
    shapes["rotary_embeddings.inv_freq"] = (hidden // 4,)
    return {name: random.normal(0, 0.1, shape).astype("<f4") for name, shape in shapes.items()}


def write(directory: Path, held: dict[str, np.ndarray] | None = None, **changes: object) -> Path:
    """A whole checkpoint directory; `changes` go into its config.json."""
    directory.mkdir(parents=True, exist_ok=True)
    save_file(tensors() if held is None else held, directory / "model.safetensors", metadata={"format": "pt"})
    (directory / "config.json").write_text(json.dumps(CONFIG | changes))
    (directory / "vocab.txt").write_text("\n".join(VOCABULARY))
    (directory / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "EsmTokenizer"}))
    return directory


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write(tmp_path / "tiny")


@pytest.fixture(scope="package", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory):
    """No test builds into, or reads from, the cache of the person who runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROTEA_RAY_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def refused(directory: Path, *words: str) -> str:
    """The message with which opening a checkpoint fails; it names the directory and holds the words."""
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(str(directory))
    message = str(caught.value)
    assert str(directory) in message
    for word in words:
        assert word in message
    return message
