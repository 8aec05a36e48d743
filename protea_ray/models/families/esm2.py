"""ESM-2 (Lin et al. 2023): CLS and EOS around the residues, rotary positions, erf GELU.

Trained on crops of 1,022 residues; rotary positions have no table, so that is a habit and no limit. Token dropout
scales the embeddings by 0.88 where nothing is masked; transformers does so as long as it gets ids, which is why
the layer loop passes ids and never embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protea_ray.models.families.base import Family, Shape, Stack, Wanted, number
from protea_ray.models.families.vocabulary import AMINO_ACIDS, lacking

if TYPE_CHECKING:
    import torch
    from torch import nn


class Esm2(Family):
    """facebook/esm2_t6_8M_UR50D to esm2_t48_15B_UR50D."""

    name = "esm2"
    has_cls = True
    head_weight = "lm_head.dense.weight"
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
        return number(config, "max_position_embeddings") - 4

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
        def begin(ids: torch.Tensor, positions: torch.Tensor) -> tuple[torch.Tensor, dict[str, Any]]:
            x = module.embeddings(input_ids=ids[None])
            return x, {"position_embeddings": module.rotary_embeddings(x, positions[None])}

        return Stack(begin, module.encoder.layer, module.encoder.emb_layer_norm_after, module.contact_head)

    def lm_head(self, module: Any, directory: Path) -> nn.Module | None:
        """Dense, GELU, norm, and a decoder tied to the word embeddings; None where the files hold no head."""
        from transformers.models.esm.modeling_esm import EsmLMHead

        from protea_ray.models.families.loading import read_tensors

        weights = read_tensors(directory, "lm_head.")
        weights.pop("decoder.bias", None)  # a copy of `bias` in some files
        if "dense.weight" not in weights:
            return None
        head = EsmLMHead(module.config)
        weights["decoder.weight"] = module.embeddings.word_embeddings.weight
        head.load_state_dict(weights)
        return head.to(weights["decoder.weight"]).eval().requires_grad_(False)


FAMILY = Esm2()
