"""ESM-2 (Lin et al. 2023): CLS and EOS around the residues, rotary positions, erf GELU.

Trained on crops of 1,022 residues; rotary positions have no table, so that is a habit and no limit. Token dropout
sets the embeddings of masked residues to zero and scales the others by 0.88 / (1 - share that is masked), 0.88 where
nothing is: transformers does so for a whole row, which is a pack here, so it is done below for each protein.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protea_ray.models.families.base import Family, Shape, Stack, Wanted, number
from protea_ray.models.families.training_marker import trained_residues
from protea_ray.models.families.vocabulary import AMINO_ACIDS, lacking

if TYPE_CHECKING:
    import torch
    from torch import nn


KEPT_IN_TRAINING = 1 - 0.15 * 0.8  # share of residues that are no <mask>, fixed in ESM-2 whatever the mask rate


class Esm2(Family):
    """facebook/esm2_t6_8M_UR50D to esm2_t48_15B_UR50D."""

    name = "esm2"
    has_cls = True
    head_weight = "lm_head.dense.weight"
    attention_part = "attention.self"
    model_type = "esm"
    tokenizer_file = "vocab.txt"
    example = "facebook/esm2_t6_8M_UR50D"
    gpu_dtype = "float16"  # MSE against float32 1.2e-6, bfloat16 7.2e-5

    def misfit(self, config: Mapping[str, Any], vocabulary: Mapping[str, int]) -> str | None:
        """Why this is no ESM-2, None when it is. ESM-1b, ESMFold and nucleotide models share the model_type."""
        if config.get("model_type") != "esm":
            return f"model_type is {config.get('model_type')!r}, not 'esm'"
        if config.get("is_folding_model"):
            return "it is a folding model"
        if config.get("position_embedding_type") != "rotary":
            return f"positions are {config.get('position_embedding_type')!r}, not 'rotary'"
        missing = lacking(vocabulary, AMINO_ACIDS + "X")
        return f"the vocabulary has no {missing}" if missing else None

    def shape(self, config: Mapping[str, Any]) -> Shape:
        hidden, heads = number(config, "hidden_size"), number(config, "num_attention_heads")
        return Shape(
            hidden=hidden, layers=number(config, "num_hidden_layers"), heads=heads, head_dim=hidden // heads,
            ffn=number(config, "intermediate_size"), vocabulary=number(config, "vocab_size"),
        )  # fmt: skip

    def trained_length(self, config: Mapping[str, Any]) -> int | None:
        """1,022: the position table of 1,026 counts padding (2) and the special tokens (2)."""
        return trained_residues(config) or number(config, "max_position_embeddings") - 4

    def has_rotary(self, config: Mapping[str, Any]) -> bool:
        """Always: `misfit` refuses ESM-1b, whose positions are a learned table."""
        return True

    def wanted(self, config: Mapping[str, Any]) -> Wanted:
        """The tensors of EsmModel without its pooler. The rotary frequencies are computed where no file holds them."""
        shape = self.shape(config)
        hidden, ffn = shape.hidden, shape.ffn
        dense = {
            "attention.self.query": (hidden, hidden), "attention.self.key": (hidden, hidden),
            "attention.self.value": (hidden, hidden), "attention.output.dense": (hidden, hidden),
            "intermediate.dense": (ffn, hidden), "output.dense": (hidden, ffn),
        }  # fmt: skip
        parts: dict[str, tuple[int, ...]] = {"encoder.emb_layer_norm_after": (hidden,)}
        if config.get("emb_layer_norm_before"):
            parts["embeddings.layer_norm"] = (hidden,)
        for layer in (f"encoder.layer.{i}" for i in range(shape.layers)):
            parts |= {f"{layer}.{name}": size for name, size in dense.items()}
            parts |= {f"{layer}.attention.LayerNorm": (hidden,), f"{layer}.LayerNorm": (hidden,)}
        parts["contact_head.regression"] = (1, shape.layers * shape.heads)
        sizes: dict[str, tuple[int, ...]] = {"embeddings.word_embeddings.weight": (shape.vocabulary, hidden)}
        for name, size in parts.items():
            sizes |= {f"{name}.weight": size, f"{name}.bias": size[:1]}
        sizes["rotary_embeddings.inv_freq"] = (shape.head_dim // 2,)
        optional = frozenset(n for n in sizes if n.startswith(("contact_head", "rotary_embeddings")))
        return Wanted(sizes, "esm", "encoder.layer", optional)

    def tokenizer(self, directory: Path) -> Any:
        from transformers import EsmTokenizer

        own = EsmTokenizer.from_pretrained(directory, local_files_only=True)
        return lambda letters: own(letters)["input_ids"], own.unk_token_id

    def load(self, directory: Path, dtype: torch.dtype) -> nn.Module:
        from transformers import EsmModel

        from protea_ray.models.families.fused import Activated
        from protea_ray.models.families.loading import exact_frequencies, load_module, restore_frequencies, stores

        module: Any = load_module(EsmModel, directory, dtype, ("contact_head", "inv_freq"), add_pooling_layer=False)
        restore_frequencies(module.rotary_embeddings, directory)
        exact_frequencies(module.rotary_embeddings)
        if not stores(directory, "contact_head.regression.weight"):
            module.contact_head = None  # else random numbers would pass for contacts
        for layer in module.encoder.layer:  # these alone: another model of this process stays as it is
            layer.intermediate = Activated(layer.intermediate.dense, "gelu")
        return module

    def stack(self, module: Any) -> Stack:
        embeddings = module.embeddings

        def begin(ids: torch.Tensor, positions: torch.Tensor, cu: torch.Tensor) -> tuple[torch.Tensor, dict[str, Any]]:
            x = embeddings.word_embeddings(ids)
            if embeddings.token_dropout:
                x = token_dropout(x, ids == embeddings.mask_token_id, cu)
            x = (x if embeddings.layer_norm is None else embeddings.layer_norm(x))[None]
            return x, {"position_embeddings": module.rotary_embeddings(x, positions[None])}

        return Stack(begin, module.encoder.layer, module.encoder.emb_layer_norm_after, module.contact_head)

    def lm_head(self, module: Any, directory: Path) -> nn.Module | None:
        """Dense, GELU, norm, and a decoder tied to the word embeddings; None where the files hold no head."""
        weights = _head_weights(directory)
        return _head(module, weights).eval().requires_grad_(False) if "dense.weight" in weights else None

    def training_head(self, module: Any, directory: Path) -> nn.Module:
        """The same with gradients; its decoder is the word embeddings' own Parameter."""
        return _head(module, _head_weights(directory)).requires_grad_(True)


FAMILY = Esm2()


def token_dropout(x: torch.Tensor, masked: torch.Tensor, cu_seqlens: torch.Tensor) -> torch.Tensor:
    """Embeddings (T, D) with the `masked` (T,) rows zero and each protein of the pack scaled by its own share of them.

    Nothing waits for the device.
    """
    import torch

    lengths = cu_seqlens.diff()
    seen = torch.cat([masked.new_zeros(1, dtype=torch.int64), masked.cumsum(0)])  # masked residues before each row
    share = (seen[cu_seqlens[1:]] - seen[cu_seqlens[:-1]]).float() / lengths
    kept = torch.repeat_interleave(1 - share, lengths, output_size=len(x))[:, None]
    return (x.masked_fill(masked[:, None], 0.0) * KEPT_IN_TRAINING / kept).to(x.dtype)


def _head_weights(directory: Path) -> dict[str, torch.Tensor]:
    from protea_ray.models.families.loading import read_tensors

    weights = read_tensors(directory, "lm_head.")
    weights.pop("decoder.bias", None)  # a copy of `bias` in some files
    return weights


def _head(module: Any, weights: dict[str, torch.Tensor]) -> nn.Module:
    """transformers' head with `weights`, fresh ones where there are none, and the word embeddings as its decoder."""
    from transformers.models.esm.modeling_esm import EsmLMHead

    from protea_ray.models.families.loading import fresh_weights

    head, embedding = EsmLMHead(module.config), module.embeddings.word_embeddings.weight
    if "dense.weight" in weights:
        head.load_state_dict(weights | {"decoder.weight": embedding})
    else:
        fresh_weights(head, module.config.initializer_range)
    head.to(embedding).decoder.weight = embedding
    return head
