"""T5 encoders: ProtT5 (Elnaggar et al. 2021) and ProstT5 (Heinzinger et al. 2023). EOS after the residues, no CLS.

Positions are a relative bias by bucketed distance, shared by all layers and constant past a distance of 128, so
the whole rule is a table of (heads, 257) numbers and no length is too long. ProstT5 is told apart by its
vocabulary: it has <AA2fold>, which then stands before the residues, and letters of structure (3Di, lower case),
which stand behind <fold2AA>. The recipe says which of the two an input holds; the letters alone do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protea_ray.config.recipe import AlphabetName
from protea_ray.models.families.alphabet import LETTERS_3DI, Alphabet, read_alphabet
from protea_ray.models.families.base import Family, Shape, Stack, Wanted, number
from protea_ray.models.families.vocabulary import AMINO_ACIDS, lacking

if TYPE_CHECKING:
    import torch
    from torch import nn

LARGEST_VOCABULARY = 512  # ProstT5 has 150; T5 models of natural language have 32,000


class T5(Family):
    """Rostlab/prot_t5_xl_half_uniref50-enc, prot_t5_xl_uniref50, ProstT5."""

    name = "t5"
    has_cls = False
    has_bias = True
    model_type = "t5"
    tokenizer_file = "spiece.model"
    example = "Rostlab/prot_t5_xl_uniref50 or Rostlab/ProstT5"
    gpu_dtype = "bfloat16"  # float16 overflows; transformers would clamp it and say nothing
    replaced = "JUZOB"
    published = "UZOB"

    def misfit(self, config: Mapping[str, Any], vocabulary: Mapping[str, int]) -> str | None:
        wrong = not_residue_t5(config, vocabulary)
        missing = lacking(vocabulary, [f"▁{letter}" for letter in AMINO_ACIDS + "X"])
        return wrong or (f"the vocabulary has no {missing}" if missing else None)

    def shape(self, config: Mapping[str, Any]) -> Shape:
        return Shape(
            hidden=number(config, "d_model"), layers=number(config, "num_layers"),
            heads=number(config, "num_heads"), head_dim=number(config, "d_kv"), ffn=number(config, "d_ff"),
            vocabulary=number(config, "vocab_size"),
            gated=str(config.get("feed_forward_proj", "relu")).startswith("gated"),
        )  # fmt: skip

    def wanted(self, config: Mapping[str, Any]) -> Wanted:
        """The tensors of T5EncoderModel; a decoder is left in its files. One embedding has two names."""
        shape = self.shape(config)
        hidden, ffn, inner = shape.hidden, shape.ffn, shape.heads * shape.head_dim
        attention = {"q": (inner, hidden), "k": (inner, hidden), "v": (inner, hidden), "o": (hidden, inner)}
        gated = config.get("is_gated_act", shape.gated)  # the saved answer wins, as in transformers
        entering = ("wi_0", "wi_1") if gated else ("wi",)
        dense = {**dict.fromkeys(entering, (ffn, hidden)), "wo": (hidden, ffn)}
        sizes: dict[str, tuple[int, ...]] = {
            "shared.weight": (shape.vocabulary, hidden), "encoder.final_layer_norm.weight": (hidden,),
        }  # fmt: skip
        buckets = config.get("relative_attention_num_buckets", 32), shape.heads
        sizes["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"] = buckets
        for block in (f"encoder.block.{i}" for i in range(shape.layers)):
            sizes |= {f"{block}.layer.0.SelfAttention.{name}.weight": size for name, size in attention.items()}
            sizes |= {f"{block}.layer.1.DenseReluDense.{name}.weight": size for name, size in dense.items()}
            sizes |= {f"{block}.layer.{part}.layer_norm.weight": (hidden,) for part in (0, 1)}
        synonyms = {"encoder.embed_tokens.weight": "shared.weight"}
        return Wanted(sizes, "transformer", "encoder.block", synonyms=synonyms)

    def tokenizer(self, directory: Path) -> Any:
        """Upper-case letters separated by spaces, <AA2fold> in front where the tokenizer knows it."""
        own = _own(directory)
        prefix = "<AA2fold> " if _knows(own, "<AA2fold>") else ""
        return lambda letters: own(prefix + " ".join(letters))["input_ids"], own.unk_token_id

    def reads_3di(self, vocabulary: Mapping[str, int]) -> bool:
        """Whether the 20 structure letters and the token before them are there."""
        return not lacking(vocabulary, ["<fold2AA>", *LETTERS_3DI])

    def alphabet(self, directory: Path, name: AlphabetName = "aa") -> Alphabet:
        """The letter table; that of 3Di has the 20 structure letters in lower case behind <fold2AA>."""
        if name == "aa" or not _knows(own := _own(directory), "<fold2AA>"):
            return super().alphabet(directory, name)
        spelt = (lambda letters: own(f"<fold2AA> {' '.join(letters)}")["input_ids"]), own.unk_token_id
        return read_alphabet(*spelt, replaced="", letters=LETTERS_3DI)

    def load(self, directory: Path, dtype: torch.dtype) -> nn.Module:
        from transformers import T5EncoderModel

        from protea_ray.models.families.fused import fuse
        from protea_ray.models.families.loading import load_module

        module: Any = load_module(T5EncoderModel, directory, dtype)
        for block in module.encoder.block:
            inner = block.layer[-1].DenseReluDense
            fuse(inner, "wi_0" if hasattr(inner, "wi_0") else "wi", "act", module.config.dense_act_fn)
        return module

    def stack(self, module: Any) -> Stack:
        encoder = module.encoder
        bias = relative_bias(encoder.block[0].layer[0].SelfAttention)

        def begin(ids: torch.Tensor, *_: torch.Tensor) -> tuple[torch.Tensor, dict[str, Any]]:
            return encoder.embed_tokens(ids[None]), {"position_bias": bias}

        return Stack(begin, encoder.block, encoder.final_layer_norm)


FAMILY = T5()


def not_residue_t5(config: Mapping[str, Any], vocabulary: Mapping[str, int]) -> str | None:
    """Why a checkpoint is no T5 of proteins at all, None when it may be."""
    if config.get("model_type") != "t5":
        return f"model_type is {config.get('model_type')!r}, not 't5'"
    if not vocabulary:
        return "none of vocab.txt, tokenizer.json, spiece.model is there"
    if len(vocabulary) > LARGEST_VOCABULARY:
        return f"a vocabulary of {len(vocabulary)} tokens is not one of residues"
    return None


def relative_bias(attention: Any) -> torch.Tensor:
    """The bias by distance, (heads, 2 * max_distance + 1); column max_distance + (key - query), clamped.

    From max_distance on all distances share one bucket, so this is the whole L x L bias of any L.
    """
    import torch

    reach = attention.relative_attention_max_distance
    distance = torch.arange(-reach, reach + 1, device=attention.relative_attention_bias.weight.device)
    bucket = attention._relative_position_bucket(
        distance, bidirectional=True, num_buckets=attention.relative_attention_num_buckets, max_distance=reach
    )
    return attention.relative_attention_bias(bucket).T.contiguous()


def _knows(own: Any, token: str) -> bool:
    return own.convert_tokens_to_ids(token) not in (None, own.unk_token_id)


def _own(directory: Path) -> Any:
    from transformers import T5Tokenizer

    return T5Tokenizer.from_pretrained(directory, local_files_only=True)
