"""Peers that a user has installed, on the same checkpoint: imported where they are there, never shipped.

FastPLMs (Synthyra) embeds data sets by itself. ESME (Celik and Xie 2025) has packed layers over flash-attn, so for CUDA
and half precision alone; it reads checkpoints of its own, and gets the weights of ours by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from protea_ray.models.checkpoint import read_config
from protea_ray.models.families import recognise
from protea_ray.models.families.loading import read_tensors
from protea_ray.plan.pack import micro_batches

Embed = Callable[[Sequence[str]], dict[str, np.ndarray]]  # mean of the residues by sequence

TOKEN_DROPOUT = 0.88  # ESM-2 scales its embeddings so where nothing is masked; ESME expects it in the weights
_ESME = {  # its names of the parts of a layer, and those of transformers
    "self_attn.norm": "attention.LayerNorm", "self_attn.q": "attention.self.query", "self_attn.k": "attention.self.key",
    "self_attn.v": "attention.self.value", "self_attn.out": "attention.output.dense", "final.0": "LayerNorm",
    "final.1": "intermediate.dense", "final.3": "output.dense",
}  # fmt: skip


def installed(directory: Path, device: str, dtype: str, budget: int) -> Iterator[tuple[str, Callable[[], Embed]]]:
    """(name, what loads it) of every peer that is installed and can run this model; `budget` tokens of a batch."""
    if read_config(directory).get("model_type") != "esm":
        return
    if find_spec("fastplms"):
        yield "FastPLMs embed_dataset", _fastplms(directory, device, dtype, budget)
    if find_spec("esme") and device == "cuda" and dtype != "float32":
        yield "ESME, packed", esme(directory, device, dtype, budget)


def esme(directory: Path, device: str, dtype: str, budget: int) -> Callable[[], Embed]:
    """ESME from the user's own installation; packs as our encoder makes them, mean over the residues."""

    def load() -> Embed:
        from esme.esm import ESM2  # type: ignore[import-not-found]

        config, kind = read_config(directory), getattr(torch, dtype)
        shape = (config["num_hidden_layers"], config["hidden_size"], config["num_attention_heads"])
        model: Any = ESM2(*shape, dtype=kind)
        model.load_state_dict(esme_weights(read_tensors(directory, "esm."), shape[0]), strict=False)
        model = model.eval().to(device)
        alphabet = recognise(config, directory).alphabet(directory)

        def run(sequences: Sequence[str]) -> dict[str, np.ndarray]:
            found = {}
            for pack in micro_batches([len(s) + 2 for s in sequences], budget):
                mine = [sequences[i] for i in pack]
                rows = [alphabet.window(alphabet.residues(s)) for s in mine]
                ends = torch.tensor([0, *map(len, rows)]).cumsum(0)
                ids = torch.from_numpy(np.concatenate(rows)).to(device)
                places = ends.to(device, torch.int32), max(map(len, rows))
                with torch.inference_mode():
                    states = model.forward_representation(ids, places)
                parts = [states[start + 1 : end - 1].float().mean(0) for start, end in pairwise(ends.tolist())]
                found |= dict(zip(mine, torch.stack(parts).cpu().numpy(), strict=True))
            return found

        return run

    return load


def esme_weights(ours: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """The weights of transformers' ESM-2 encoder under ESME's names; its language-model head stays random."""
    renamed = {"embed_tokens.weight": ours["embeddings.word_embeddings.weight"] * TOKEN_DROPOUT}
    for end in ("weight", "bias"):
        renamed[f"emb_layer_norm_after.{end}"] = ours[f"encoder.emb_layer_norm_after.{end}"]
        for i in range(layers):
            renamed |= {f"layers.{i}.{a}.{end}": ours[f"encoder.layer.{i}.{b}.{end}"] for a, b in _ESME.items()}
    return renamed


def _fastplms(directory: Path, device: str, dtype: str, budget: int) -> Callable[[], Embed]:
    """Synthyra/FastPLMs, from the user's own installation; its own length buckets, `budget` tokens a batch."""

    def load() -> Embed:
        from fastplms.models.esm2.modeling_fastesm import FastEsmModel  # type: ignore[import-not-found]
        from transformers import EsmTokenizer

        kind = getattr(torch, dtype)
        model = FastEsmModel.from_pretrained(directory, dtype=kind, attn_implementation="sdpa").eval().to(device)
        tokenizer = EsmTokenizer.from_pretrained(directory)
        options: dict[str, Any] = {"batch_size": 32, "batch_window_size": 4096, "max_length": 100_000}
        options |= {"tokenizer": tokenizer, "pooling": ("mean",)}

        def run(sequences: Sequence[str]) -> dict[str, np.ndarray]:
            most = max(budget, max(map(len, sequences)) + 2)  # it refuses what is longer
            found = model.embed_dataset(list(sequences), max_tokens_per_batch=most, **options)
            return {record.sequence: record.tensor.float().numpy() for record in found}

        return run

    return load
