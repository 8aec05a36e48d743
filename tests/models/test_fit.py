"""Which tensors a checkpoint must have: those that transformers' own module asks for, told from the headers alone."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from protea_ray.encoder.attention import register
from protea_ray.errors import CheckpointError
from protea_ray.models.checkpoint import open_checkpoint, read_config
from protea_ray.models.families import recognise
from protea_ray.models.fit import require_fit
from protea_ray.models.weights import read_header
from protea_ray.testing.random_checkpoint import FAMILIES, build
from tests.models.conftest import refused, tensors, write

MODULES = {
    "esm2": transformers.EsmModel, "esmc": transformers.EsmcModel,
    **dict.fromkeys(("t5", "prostt5", "ankh"), transformers.T5EncoderModel),
}  # fmt: skip
OPTIONS = {"esm2": {"add_pooling_layer": False}}
Edit = Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]


register()  # the attention that the package's own loader asks transformers for


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One random checkpoint of every kind; not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    return {name: build(name, folder / name, layers=2) for name in FAMILIES}


def changed(source: Path, target: Path, edit: Edit, **config: Any) -> Path:
    """A copy whose tensors went through `edit`."""
    shutil.copytree(source, target, dirs_exist_ok=True)
    held = edit(load_file(source / "model.safetensors"))
    save_file({k: v.contiguous().clone() for k, v in held.items()}, target / "model.safetensors", {"format": "pt"})
    (target / "config.json").write_text(json.dumps(read_config(source) | config))
    return target


def prefixed(prefix: str) -> Edit:
    return lambda held: {prefix + name: tensor for name, tensor in held.items()}


# --- the list is transformers' own ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        *((kind, {}) for kind in FAMILIES),
        ("esm2", {"emb_layer_norm_before": True, "hidden_size": 24, "num_attention_heads": 2}),
        ("esmc", {"attention_bias": True, "mlp_bias": True, "num_hidden_layers": 5}),
        ("t5", {"feed_forward_proj": "gated-gelu", "relative_attention_num_buckets": 16, "d_kv": 5}),
        ("ankh", {"feed_forward_proj": "relu", "d_ff": 48}),
    ],
)
def test_the_list_is_the_state_of_transformers_module(
    kind: str, config: dict[str, Any], made: dict[str, Path], tmp_path: Path
) -> None:
    directory = changed(made[kind], tmp_path / "odd", lambda held: held, **config)
    module = MODULES[kind]
    with torch.device("meta"):
        own = module(module.config_class.from_pretrained(directory), **OPTIONS.get(kind, {})).state_dict()

    wanted = recognise(read_config(directory), directory).wanted(read_config(directory))

    assert wanted is not None
    sizes = {wanted.synonyms.get(name, name): tuple(tensor.shape) for name, tensor in own.items()}
    assert wanted.sizes == sizes
    assert wanted.prefix == module.base_model_prefix
    assert wanted.optional == {n for n in sizes if n.startswith(("contact_head.", "rotary_embeddings."))}


@pytest.mark.parametrize("kind", ["esm2", "esmc", "ankh"])
def test_a_tensor_less_is_refused_exactly_when_transformers_misses_it(
    kind: str, made: dict[str, Path], tmp_path: Path
) -> None:
    """Every tensor of the outer parts and of the last layer, one at a time."""
    transformers.utils.logging.set_verbosity_error()
    for name in load_file(made[kind] / "model.safetensors"):
        if re.search(r"(layer|layers|block)\.0\.", name) and "relative" not in name:
            continue
        without: Edit = lambda held, gone=name: {n: t for n, t in held.items() if n != gone}  # noqa: E731
        lacking = changed(made[kind], tmp_path / "less", without)
        _, report = MODULES[kind].from_pretrained(lacking, output_loading_info=True, **OPTIONS.get(kind, {}))
        unneeded = ("contact_head.", "rotary_embeddings.", "encoder.embed_tokens.")  # the last is another's second name
        missed = [n for n in report["missing_keys"] if not n.startswith(unneeded)]
        if missed:
            refused(lacking, "not those of its config.json", missed[0])
        else:
            open_checkpoint(str(lacking))


# --- what people have -----------------------------------------------------------------------------------------------

WRAPPED = {
    "_orig_mod.": "torch.compile", "module.": "DDP", "model.": "LightningModule", "base_model.model.": "PEFT",
    "_forward_module.module.": "Fabric", "student.": "the model alone", "_fsdp_wrapped_module.": "FSDP",
}  # fmt: skip


@pytest.mark.parametrize(
    ("prefix", "kind"), [*((p, "esm2") for p in WRAPPED), *(("_orig_mod.", kind) for kind in FAMILIES[1:])]
)
def test_a_prefix_is_named_with_its_cause(prefix: str, kind: str, made: dict[str, Path], tmp_path: Path) -> None:
    wrapped = changed(made[kind], tmp_path / "wrapped", prefixed(prefix))
    refused(wrapped, f"every name begins with '{prefix}'", WRAPPED[prefix], "save_pretrained")


@pytest.mark.parametrize("kind", ["esm2", "t5"])
def test_the_cure_that_is_printed_cures(
    kind: str, made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A head of the trainer's own stays behind with the other names."""
    edit = lambda held: prefixed("net.")(held) | {"teacher.weight": torch.ones(3)}  # noqa: E731
    wrapped = changed(made[kind], tmp_path / "wrapped", edit)
    message = refused(wrapped, "begins with 'net.'", "teacher.weight")
    code = re.search(r'python -c "(.+?)" and put', message)
    assert code
    monkeypatch.chdir(wrapped)
    exec(code[1], {})
    (wrapped / "new.safetensors").replace(wrapped / "model.safetensors")

    cured, plain = open_checkpoint(str(wrapped)), load_file(made[kind] / "model.safetensors")

    assert cured.facts.n_layers == 2
    held = load_file(wrapped / "model.safetensors")
    assert held.keys() == plain.keys()
    assert all(torch.equal(held[name], plain[name]) for name in plain)


def test_a_prefix_in_shards(made: dict[str, Path], tmp_path: Path) -> None:
    wrapped = changed(made["esmc"], tmp_path / "wrapped", prefixed("module."))
    held = load_file(wrapped / "model.safetensors")
    (wrapped / "model.safetensors").unlink()
    save_file(held, wrapped / "model-00001-of-00001.safetensors")
    index = {"weight_map": dict.fromkeys(held, "model-00001-of-00001.safetensors")}
    (wrapped / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "python -c" not in refused(wrapped, "'module.'", "every shard", "model.safetensors.index.json")


def test_an_adapter_that_was_not_merged(made: dict[str, Path], tmp_path: Path) -> None:
    def peft(held: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        named = {"base_model.model." + n.replace("query.weight", "query.base_layer.weight"): t for n, t in held.items()}
        layer = "base_model.model.esm.encoder.layer.0.attention.self.query"
        return named | {f"{layer}.lora_A.default.weight": torch.ones(8, 32)}

    refused(changed(made["esm2"], tmp_path / "peft", peft), "adapter that is not merged", "merge_and_unload")
    inside = {"esm.encoder.layer.1.attention.self.key.lora_A.weight": torch.ones(8, 32)}
    refused(changed(made["esm2"], tmp_path / "inside", lambda held: held | inside), "adapter that is not merged")


@pytest.mark.parametrize(
    ("kind", "old", "new", "program"),
    [
        ("esm2", "esm.encoder.layer.", "encoder.sentence_encoder.layers.", "fair-esm"),
        ("esmc", "esmc.layers.0.self_attn.q_proj", "transformer.blocks.0.attn.layernorm_qkv.1", "the esm package"),
    ],
)
def test_names_of_another_program(
    kind: str, old: str, new: str, program: str, made: dict[str, Path], tmp_path: Path
) -> None:
    other = changed(made[kind], tmp_path / "other", lambda held: {n.replace(old, new): t for n, t in held.items()})
    refused(other, program, "transformers' format")


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_matrix_that_lies_on_its_side(kind: str, made: dict[str, Path], tmp_path: Path) -> None:
    part = {"esm2": "output.dense.weight", "esmc": "down_proj.weight"}.get(kind, "DenseReluDense.wo.weight")
    turned = changed(
        made[kind], tmp_path / "turned", lambda held: {n: t.T if n.endswith(part) else t for n, t in held.items()}
    )
    refused(turned, part, "the configuration says 32 x")


def test_weights_of_whole_numbers(made: dict[str, Path], tmp_path: Path) -> None:
    part = "layer.1.output.dense.weight"
    whole = changed(
        made["esm2"], tmp_path / "whole",
        lambda held: {n: t.to(torch.int8) if n.endswith(part) else t for n, t in held.items()},
    )  # fmt: skip
    refused(whole, part, "quantised")


def test_a_tensor_of_a_layer_that_would_not_be_used(made: dict[str, Path], tmp_path: Path) -> None:
    """Biases that config.json does not know of: the numbers would be those of another model."""
    bias = {"esmc.layers.1.self_attn.q_proj.bias": torch.ones(32)}
    refused(changed(made["esmc"], tmp_path / "biased", lambda held: held | bias), "q_proj.bias", "not be used")


SOUND: dict[str, tuple[str, Edit]] = {
    "no prefix at all": ("esm2", lambda held: {n.removeprefix("esm."): t for n, t in held.items()}),
    "float16": ("esm2", lambda held: {n: t.half() for n, t in held.items()}),
    "bfloat16": ("prostt5", lambda held: {n: t.bfloat16() for n, t in held.items()}),
    "float64": ("ankh", lambda held: {n: t.double() for n, t in held.items()}),
    "no head": ("esmc", lambda held: {n: t for n, t in held.items() if "lm_head" not in n}),
    "no contacts": ("esm2", lambda held: {n: t for n, t in held.items() if "contact_head" not in n}),
    "no frequencies": ("esm2", lambda held: {n: t for n, t in held.items() if "inv_freq" not in n}),
    "a classifier": ("esm2", lambda held: held | {"classifier.dense.weight": torch.ones(32, 32)}),
    "a head with layers": ("esmc", lambda held: held | {"classifier.layers.0.weight": torch.ones(4, 32)}),
    "a decoder": ("t5", lambda held: held | {"decoder.block.7.layer.0.SelfAttention.q.weight": torch.ones(64, 32)}),
    "the other name of the embedding": (
        "ankh", lambda held: {n.replace("shared", "encoder.embed_tokens"): t for n, t in held.items()},
    ),
    "both names": ("t5", lambda held: held | {"encoder.embed_tokens.weight": held["shared.weight"]}),
    "old names of norms": ("esm2", lambda held: {
        n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t
        for n, t in held.items()
    }),
    "frequencies in each layer": ("esm2", lambda held: held | {
        "esm.encoder.layer.1.attention.self.rotary_embeddings.inv_freq": torch.ones(4)
    }),
}  # fmt: skip


@pytest.mark.parametrize("name", SOUND)
def test_what_differs_and_is_sound(name: str, made: dict[str, Path], tmp_path: Path) -> None:
    """Accepted, and it loads: nothing that the layers use is missing."""
    kind, edit = SOUND[name]
    directory = changed(made[kind], tmp_path / "sound", edit)
    opened = open_checkpoint(str(directory))
    recognise(read_config(directory), directory).load(opened.path, torch.float32)


def test_a_task_model_of_transformers(made: dict[str, Path], tmp_path: Path) -> None:
    """Fine-tuned for a task and saved: the head is left aside, there are no logits."""
    config = transformers.EsmConfig.from_pretrained(made["esm2"])
    shutil.copytree(made["esm2"], tmp_path / "tuned")
    for model in (transformers.EsmForTokenClassification, transformers.EsmForSequenceClassification):
        model(config).save_pretrained(tmp_path / "tuned")
        opened = open_checkpoint(str(tmp_path / "tuned"))
        assert opened.facts.has_lm_head is False


def test_rounded_frequencies_are_computed_anew(made: dict[str, Path], tmp_path: Path) -> None:
    """A model that was cast and then saved: its frequencies were cast too, 1 % of a turn after 100 residues."""
    directory = changed(
        made["esm2"], tmp_path / "cast",
        lambda held: {n: t.bfloat16() if "inv_freq" in n else t for n, t in held.items()},
    )  # fmt: skip
    family = recognise(read_config(directory), directory)

    module: Any = family.load(directory, torch.float32)

    exact = torch.tensor([10_000.0 ** (-k / 4) for k in range(4)])
    assert not torch.equal(exact, exact.bfloat16().float())
    torch.testing.assert_close(module.rotary_embeddings.inv_freq, exact, rtol=1e-6, atol=0)


def test_frequencies_in_half_precision_are_never_used() -> None:
    from protea_ray.models.families.loading import exact_frequencies

    exact_frequencies(SimpleNamespace(inv_freq=torch.ones(4)))
    for dtype in (torch.float16, torch.bfloat16):
        with pytest.raises(CheckpointError, match="must stay float32"):
            exact_frequencies(SimpleNamespace(inv_freq=torch.ones(4, dtype=dtype)))


# --- weights of another model ---------------------------------------------------------------------------------------

SWAPPED = {
    "more layers": (tensors(layers=4), ["4 layers", "says 3"], ["4 layers", "says 3"]),
    "fewer layers": (tensors(layers=2), ["2 layers", "says 3"], ["2 layers", "says 3"]),
    "wider": (tensors(hidden=16), ["33 x 16", "33 x 8"], ["33 x 16", "33 x 8"]),
    "other feed-forward": (tensors(ffn=64), ["64 x 8", "says 32 x 8"], ["feed-forward", "32 x 8"]),
    "gap": (
        {k: v for k, v in tensors().items() if "layer.2.attention.self.key" not in k},
        ["2 of", "encoder.layer.2.attention.self.key.weight"], ["layer 2", "key"],
    ),
    "no embedding": (
        {k: v for k, v in tensors().items() if "word_embeddings" not in k},
        ["1 of", "word_embeddings"], ["no token embedding"],
    ),
    "BERT": (
        {f"bert.{n}": t for n, t in tensors().items()}
        | {"bert.embeddings.word_embeddings.weight": np.ones((30522, 8), "<f4")},
        ["'bert.'"], ["30522 x 8"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SWAPPED)
def test_swapped_weights(name: str, tmp_path: Path) -> None:
    held, words, _ = SWAPPED[name]
    refused(write(tmp_path / "swapped", held), *words)


@pytest.mark.parametrize("name", SWAPPED)
def test_swapped_weights_of_a_family_whose_names_are_not_known(name: str, tmp_path: Path) -> None:
    held, _, words = SWAPPED[name]
    shape: Any = SimpleNamespace(hidden=8, layers=3, heads=2, head_dim=4, ffn=32, vocabulary=33)
    headers = read_header(write(tmp_path / "swapped", held) / "model.safetensors")
    with pytest.raises(CheckpointError, match=re.escape("not those of its config.json")) as caught:
        require_fit(tmp_path, headers, shape, None)
    for word in words:
        assert word in str(caught.value)
    require_fit(tmp_path, read_header(write(tmp_path / "right") / "model.safetensors"), shape, None)
