"""ESM-C (EvolutionaryScale 2024, weights and module by BioHub): BOS and EOS, rotary positions, SwiGLU.

Trained on 2,048 tokens. States are counted as transformers does: the last one is after the final norm (the esm
package returns it before the norm).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protea_ray.models.families.base import Family, Shape, Stack, Wanted, number
from protea_ray.models.families.training_marker import trained_residues
from protea_ray.models.families.vocabulary import AMINO_ACIDS, by_id, lacking, read_vocabulary

if TYPE_CHECKING:
    import torch
    from torch import nn


class Esmc(Family):
    """biohub/ESMC-300M, ESMC-600M, ESMC-6B."""

    name = "esmc"
    has_cls = True
    head_weight = "lm_head.dense.weight"
    attention_part = "self_attn"
    model_type = "esmc"
    tokenizer_file = "tokenizer.json"
    example = "biohub/ESMC-300M"
    gpu_dtype = "bfloat16"

    def misfit(self, config: Mapping[str, Any], vocabulary: Mapping[str, int]) -> str | None:
        if config.get("model_type") != "esmc":
            return f"model_type is {config.get('model_type')!r}, not 'esmc'"
        missing = lacking(vocabulary, AMINO_ACIDS + "X") if vocabulary else ""
        return f"the vocabulary has no {missing}" if missing else None

    def shape(self, config: Mapping[str, Any]) -> Shape:
        hidden, heads = number(config, "hidden_size"), number(config, "num_attention_heads")
        return Shape(
            hidden=hidden, layers=number(config, "num_hidden_layers"), heads=heads, head_dim=hidden // heads,
            ffn=number(config, "intermediate_size"), vocabulary=number(config, "vocab_size"), gated=True,
        )  # fmt: skip

    def trained_length(self, config: Mapping[str, Any]) -> int | None:
        """Residues that the model was trained on: 2,046, which is 2,048 tokens less BOS and EOS."""
        return trained_residues(config) or number(config, "max_position_embeddings") - 2

    def has_rotary(self, config: Mapping[str, Any]) -> bool:
        """Unless config.json stretches them itself, which transformers then does, for some kinds in every pass anew."""
        own = config.get("rope_parameters") or config.get("rope_scaling") or {}
        return own.get("rope_type", own.get("type", "default")) == "default"

    def wanted(self, config: Mapping[str, Any]) -> Wanted:
        """The tensors of EsmcModel; biases of linear layers where config.json says that there are some."""
        shape = self.shape(config)
        hidden, ffn, inner = shape.hidden, shape.ffn, shape.heads * (config.get("head_dim") or shape.head_dim)
        attention: dict[str, tuple[int, ...]] = {
            **dict.fromkeys(("q_proj", "k_proj", "v_proj"), (inner, hidden)), "o_proj": (hidden, inner),
        }  # fmt: skip
        mlp: dict[str, tuple[int, ...]] = {
            "gate_proj": (ffn, hidden), "up_proj": (ffn, hidden), "down_proj": (hidden, ffn),
        }  # fmt: skip
        sizes: dict[str, tuple[int, ...]] = {
            "embed_tokens.weight": (shape.vocabulary, hidden),
            "norm.weight": (hidden,),
        }
        for layer in (f"layers.{i}" for i in range(shape.layers)):
            for part, dense, biased in (("self_attn", attention, "attention_bias"), ("mlp", mlp, "mlp_bias")):
                sizes |= {f"{layer}.{part}.{name}.weight": size for name, size in dense.items()}
                if config.get(biased):
                    sizes |= {f"{layer}.{part}.{name}.bias": size[:1] for name, size in dense.items()}
            sizes |= {f"{layer}.self_attn.{name}.weight": (inner,) for name in ("q_norm", "k_norm")}
            for norm in ("input_layernorm", "post_attention_layernorm"):
                sizes |= {f"{layer}.{norm}.weight": (hidden,), f"{layer}.{norm}.bias": (hidden,)}
        return Wanted(sizes, "esmc", "layers")

    def tokenizer(self, directory: Path) -> Any:
        """The vocabulary is part of transformers' class; a tokenizer.json in the checkpoint is read through it."""
        from transformers import EsmcTokenizer

        saved = (directory / "tokenizer.json").is_file()
        own = EsmcTokenizer.from_pretrained(directory, local_files_only=True) if saved else EsmcTokenizer()
        return lambda letters: own(letters)["input_ids"], own.unk_token_id

    def tokens(self, directory: Path, size: int) -> tuple[str, ...]:
        """Tokens by id, from the checkpoint's file or from transformers' class: 33 tokens for 64 columns."""
        vocabulary = read_vocabulary(directory)
        if not vocabulary:
            from transformers import EsmcTokenizer

            vocabulary = EsmcTokenizer().get_vocab()
        return by_id(vocabulary, size)

    def load(self, directory: Path, dtype: torch.dtype) -> nn.Module:
        from transformers import EsmcModel

        from protea_ray.models.families.fused import fuse
        from protea_ray.models.families.loading import exact_frequencies, load_module

        module: Any = load_module(EsmcModel, directory, dtype)
        exact_frequencies(module.rotary_emb)
        for layer in module.layers:
            fuse(layer.mlp, "gate_proj", "act_fn", module.config.hidden_act)
        return module

    def stack(self, module: Any) -> Stack:
        def begin(ids: torch.Tensor, positions: torch.Tensor, cu: torch.Tensor) -> tuple[torch.Tensor, dict[str, Any]]:
            x = module.embed_tokens(ids[None])
            return x, {"position_embeddings": module.rotary_emb(x, positions[None])}

        return Stack(begin, module.layers, module.norm)

    def lm_head(self, module: Any, directory: Path) -> nn.Module | None:
        """Dense, GELU, norm and a decoder of its own; None where the files hold no head."""
        weights = _head_weights(directory)
        return _head(module, weights).eval().requires_grad_(False) if "dense.weight" in weights else None

    def training_head(self, module: Any, directory: Path) -> nn.Module:
        """The same with gradients; its decoder is not tied, as published."""
        return _head(module, _head_weights(directory)).requires_grad_(True)

    def set_dropout(self, module: Any, share: float) -> None:
        """ESM-C's layers have no dropout module: what attention and MLP return is dropped."""
        from torch.nn import functional

        def drop(part: nn.Module, given: Any, out: torch.Tensor) -> torch.Tensor:
            return functional.dropout(out, share, part.training)

        for layer in module.layers if share else ():
            layer.self_attn.o_proj.register_forward_hook(drop)
            layer.mlp.down_proj.register_forward_hook(drop)

    def stored_name(self, name: str) -> str:
        return name.replace(".gate_proj.dense.", ".gate_proj.")  # `fuse` put the activation around it


FAMILY = Esmc()


def _head_weights(directory: Path) -> dict[str, torch.Tensor]:
    from protea_ray.models.families.loading import read_tensors

    return read_tensors(directory, "lm_head.")


def _head(module: Any, weights: dict[str, torch.Tensor]) -> nn.Module:
    """transformers' head with `weights`, fresh ones where there are none."""
    from transformers.models.esmc.modeling_esmc import EsmcMaskedLMHead

    from protea_ray.models.families.loading import fresh_weights

    head = EsmcMaskedLMHead(module.config.hidden_size, module.config.vocab_size)
    if "dense.weight" in weights:
        head.load_state_dict(weights)
    else:
        fresh_weights(head, module.config.initializer_range)
    return head.to(module.embed_tokens.weight)
