"""Random checkpoints: the real config class, the real vocabulary, the files that a hub repository has.

`build("ankh", directory)` writes a directory that the production path loads like a downloaded one, for tests and for
benchmarks of shapes whose weights are not at hand. Families: `esm2` (with language-model head and contact head),
`esmc` (with language-model head), `t5` (ProtT5: nothing but `spiece.model`), `prostt5` (that plus the 3Di letters and
the two direction tokens), `ankh` (`tokenizer.json` without a pre-tokenizer, as published). Weights are drawn wide
enough that attention is not flat: a leak between packed neighbours moves the states by more than 0.1, so that an
error of 1e-5 means something.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LETTERS = "ALGVSREDTIPKFQNYMHWCXBOUZ"  # ids 3 to 27 of ProtT5 and Ankh, in the published order
FOLD_LETTERS = "algvsredtipkfqnymhwc"  # ids 128 to 147 of ProstT5
FAMILIES = ("esm2", "esmc", "t5", "prostt5", "ankh")
# normalisation rules of sentencepiece, none: the size of a double array, the array (a root whose children, units 1 to
# 255, all have the label NUL, so that no byte leads anywhere), and the replacements. An empty field is an error in
# transformers 5.17.
_NO_RULES = (1024).to_bytes(4, "little") + (1 << 10).to_bytes(4, "little") + bytes(255 * 4) + b"\0"


def build(
    family: str, directory: Path, *, layers: int = 3, hidden: int = 32, heads: int = 4, seed: int = 0,
    device: str = "cpu", **config: Any,
) -> Path:  # fmt: skip
    """Write a random checkpoint of `family` into `directory` and return the directory; `config` overrides T5's.

    The weights are drawn on `device`: a billion of them take 15 s on one core, and other numbers come out of a GPU.
    """
    import torch

    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[] if device == "cpu" else None), torch.device(device):
        torch.manual_seed(seed)
        model = _MODELS[family](layers, hidden, heads, **config)
        _spread(model)
    _save(model, directory)
    _VOCABULARIES[family](directory)
    return directory


def _spread(model: Any) -> None:
    """Redraw the weights so that every part of the model matters to the output."""
    import torch

    for name, parameter in model.named_parameters():
        flat = "norm" in name.lower() and name.endswith("weight")
        scale = 0.1 if parameter.ndim == 1 or "bias" in name else parameter.shape[-1] ** -0.5
        scale = 1.0 if "embed" in name or "shared" in name or "attention_bias" in name else scale
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            scale *= 0.3  # ESM-C multiplies its branches by sqrt(36 / layers), 3.5 at 3 layers
        with torch.no_grad():
            parameter.normal_(1.0 if flat else 0.0, scale)


def _save(model: Any, directory: Path) -> None:
    """Weights under the names of the published files (`save_pretrained` of ESM renames its layer norms)."""
    from safetensors.torch import save_file

    kept, seen = {}, set()
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in seen:  # tied weights are stored once
            kept[name] = tensor.contiguous().cpu()
        seen.add(tensor.data_ptr())
    save_file(kept, directory / "model.safetensors", metadata={"format": "pt"})
    config = model.config.to_dict() | {"architectures": [type(model).__name__]}
    (directory / "config.json").write_text(json.dumps(config, indent=1, default=str))


def _esm2(layers: int, hidden: int, heads: int) -> Any:
    from transformers import EsmConfig, EsmForMaskedLM

    config = EsmConfig(
        vocab_size=33, mask_token_id=32, pad_token_id=1, hidden_size=hidden, num_hidden_layers=layers,
        num_attention_heads=heads, intermediate_size=4 * hidden, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, max_position_embeddings=1026, layer_norm_eps=1e-5,
        position_embedding_type="rotary", token_dropout=True, emb_layer_norm_before=False,
    )  # fmt: skip
    return EsmForMaskedLM(config)


def _esmc(layers: int, hidden: int, heads: int) -> Any:
    from transformers import EsmcConfig, EsmcForMaskedLM

    config = EsmcConfig(
        hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=int((8 / 3 * hidden + 255) // 256 * 256),
    )  # fmt: skip
    return EsmcForMaskedLM(config)


def _t5_config(layers: int, hidden: int, heads: int, **changes: Any) -> Any:
    from transformers import T5Config

    # d_kv * heads != d_model, as in ProtT5-XL (4096 against 1024)
    fields = {
        "vocab_size": 128, "d_model": hidden, "d_kv": 2 * hidden // heads, "d_ff": 4 * hidden,
        "num_layers": layers, "num_heads": heads, "feed_forward_proj": "relu", "pad_token_id": 0,
        "eos_token_id": 1, "dropout_rate": 0.1,
    }  # fmt: skip
    return T5Config(**fields | changes)


def _t5(layers: int, hidden: int, heads: int, **changes: Any) -> Any:
    from transformers import T5EncoderModel

    return T5EncoderModel(_t5_config(layers, hidden, heads, **changes))


def _prostt5(layers: int, hidden: int, heads: int) -> Any:
    from transformers import T5EncoderModel

    return T5EncoderModel(_t5_config(layers, hidden, heads, vocab_size=150))


def _ankh(layers: int, hidden: int, heads: int) -> Any:
    from transformers import T5EncoderModel

    changes = {
        "vocab_size": 144, "d_kv": hidden // heads, "feed_forward_proj": "gated-gelu",
        "relative_attention_num_buckets": 64, "dropout_rate": 0.0,
    }  # fmt: skip
    return T5EncoderModel(_t5_config(layers, hidden, heads, **changes))


def _esm2_vocabulary(directory: Path) -> None:
    from transformers.models.esm.configuration_esm import get_default_vocab_list

    (directory / "vocab.txt").write_text("\n".join(get_default_vocab_list()))
    _tokenizer_config(directory, tokenizer_class="EsmTokenizer")


def _esmc_vocabulary(directory: Path) -> None:
    from transformers import EsmcTokenizer

    EsmcTokenizer().save_pretrained(directory)


def _t5_vocabulary(directory: Path) -> None:
    _write_spiece(directory / "spiece.model")
    extra = [f"<extra_id_{i}>" for i in range(100)]
    _tokenizer_config(directory, tokenizer_class="T5Tokenizer", extra_ids=100, additional_special_tokens=extra)


def _prostt5_vocabulary(directory: Path) -> None:
    _t5_vocabulary(directory)
    added = {letter: 128 + i for i, letter in enumerate(FOLD_LETTERS)}
    added |= {"<fold2AA>": 148, "<AA2fold>": 149}
    (directory / "added_tokens.json").write_text(json.dumps(added))


def _write_spiece(path: Path) -> None:
    """The sentencepiece model of ProtT5: three specials, then 25 letters with a word boundary in front."""
    from sentencepiece import sentencepiece_model_pb2

    generated: Any = sentencepiece_model_pb2  # its classes are made when it is imported
    model = generated.ModelProto()
    kinds = generated.ModelProto.SentencePiece
    specials = (("<pad>", kinds.CONTROL), ("</s>", kinds.CONTROL), ("<unk>", kinds.UNKNOWN))
    for piece, kind in specials:
        model.pieces.add(piece=piece, score=0.0, type=kind)
    for rank, letter in enumerate(LETTERS):
        model.pieces.add(piece=f"▁{letter}", score=-2.0 - rank / 10, type=kinds.NORMAL)
    spec = model.trainer_spec
    spec.model_type = spec.UNIGRAM
    spec.pad_id, spec.eos_id, spec.unk_id, spec.bos_id = 0, 1, 2, -1
    spec.vocab_size = len(model.pieces)
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.precompiled_charsmap = _NO_RULES
    path.write_bytes(model.SerializeToString())


def _ankh_vocabulary(directory: Path) -> None:
    """Bare letters and no pre-tokenizer, as published; `T5Tokenizer` of transformers 5 misreads just this."""
    from tokenizers import AddedToken, Tokenizer
    from tokenizers.models import Unigram
    from tokenizers.processors import TemplateProcessing

    extra = [f"<extra_id_{i}>" for i in range(115)]
    specials = ["<pad>", "</s>", "<unk>"]
    scores = [(piece, 0.0) for piece in specials]
    scores += [(letter, -2.0 - rank / 10) for rank, letter in enumerate(LETTERS)]
    tokenizer = Tokenizer(Unigram(scores + [(piece, 0.0) for piece in extra], unk_id=2, byte_fallback=False))
    tokenizer.add_special_tokens([AddedToken(piece, normalized=False) for piece in specials + extra])
    tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.save(str(directory / "tokenizer.json"))
    _tokenizer_config(directory, tokenizer_class="T5Tokenizer", extra_ids=0)


def _tokenizer_config(directory: Path, **fields: Any) -> None:
    fields |= {"model_max_length": 10**30}
    (directory / "tokenizer_config.json").write_text(json.dumps(fields))


_MODELS = {"esm2": _esm2, "esmc": _esmc, "t5": _t5, "prostt5": _prostt5, "ankh": _ankh}
_VOCABULARIES = {
    "esm2": _esm2_vocabulary, "esmc": _esmc_vocabulary, "t5": _t5_vocabulary,
    "prostt5": _prostt5_vocabulary, "ankh": _ankh_vocabulary,
}  # fmt: skip
