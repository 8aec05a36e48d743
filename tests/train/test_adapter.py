"""LoRA and QLoRA: what is trained, what directories hold; kept, merged and as PEFT reads it one function."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.encoder.collect import Embedded
from protea_ray.encoder.in_memory import encoder_here
from protea_ray.encoder.lora import LoRA
from protea_ray.encoder.packed_linear import PackedLinear
from protea_ray.encoder.quantize import method, quantize
from protea_ray.errors import CheckpointError, ConfigError, EncoderError
from protea_ray.models.checkpoint import open_checkpoint
from protea_ray.testing.random_checkpoint import build
from protea_ray.train.adapter import Updates, add_adapters
from protea_ray.train.masked_model import MaskedModel
from protea_ray.train.masking import MaskedPack
from protea_ray.train.merge import merge

PROTEINS = ["MKTAYIAKQRQISFVKSHFSRQ", "GAVLIPFMW", "MSDEKLLERNQ" * 4]
EVERY = ("query", "key", "value", "output", "ffn")
NAMES = {
    "esm2": r"base_model\.model\.esm\.encoder\.layer\.\d\.attention\.self\.(query|key|value)\.lora_[AB]\.weight",
    "esmc": r"base_model\.model\.esmc\.layers\.\d\.self_attn\.(q|k|v)_proj\.lora_[AB]\.weight",
}


@dataclass(frozen=True)
class Trained:
    """A model after a few steps, the directory it was written to, and its base."""

    base: Path
    model: MaskedModel
    updates: Updates
    kept: Path


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models of 2 layers, 64 wide: nf4 has 64 weights to a scale."""
    place = tmp_path_factory.mktemp("bases")
    return {family: build(family, place / family, layers=2, hidden=64) for family in ("esm2", "esmc")}


def pack_of(base: Path, proteins: Sequence[str] = PROTEINS) -> MaskedPack:
    """Every third residue behind `<mask>`, of all proteins side by side."""
    found = open_checkpoint(str(base))
    encoder = encoder_here(found, EmbeddingConfig.model_validate({"model": str(base)}), "cpu")
    windows = [encoder.alphabet.window(encoder.alphabet.residues(protein)) for protein in proteins]
    ids = np.concatenate(windows).astype(np.int64)
    rows = np.concatenate([[0], np.cumsum([len(window) for window in windows])])
    positions = np.concatenate([np.arange(len(window)) for window in windows])
    chosen = np.flatnonzero((positions % 3 == 1) & ~np.isin(np.arange(rows[-1]) + 1, rows))
    targets = ids[chosen].copy()
    ids[chosen] = 32  # <mask> of both families
    return MaskedPack(ids, positions, rows, chosen, targets, np.arange(len(proteins)))


def train(base: Path, place: Path, steps: int = 6, **options: Any) -> Trained:
    """A few steps with a learning rate that moves every factor far from where it began."""
    model = MaskedModel.load(base, device="cpu", dtype="float32")
    updates = add_adapters(model, open_checkpoint(str(base)), **{"rank": 4, "alpha": 8.0} | options)
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.03, weight_decay=0.0)
    inputs = model.to_device(pack_of(base))
    for _ in range(steps):
        optimiser.zero_grad()
        model(**inputs).backward()
        optimiser.step()
    return Trained(base, model, updates, updates.write(place, updates.tensors(), {"trained_residues": 1500}))


@pytest.fixture(scope="module")
def trained(bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trained]:
    place = tmp_path_factory.mktemp("trained")
    made = {family: train(base, place / family, targets=EVERY) for family, base in bases.items()}
    few = {"nf4": "int4", "hqq": "hqq:2"}
    return made | {n: train(bases["esm2"], place / n, targets=EVERY, quantization=kind) for n, kind in few.items()}


def loss(model: MaskedModel, base: Path) -> Tensor:
    with torch.no_grad():
        return model(**model.to_device(pack_of(base)))


def stored(directory: Path, **fields: Any) -> np.ndarray:
    """Logits of every residue, (residues, tokens), as `protea-ray embed --model DIR` computes them."""
    asked: dict[str, Any] = {"model": str(directory), "outputs": ("embeddings", "logits"), "store_dtype": "float32"}
    encoder = encoder_here(open_checkpoint(str(directory)), EmbeddingConfig(**asked | fields), "cpu")
    found = {result.index: result for result in encoder.embed(PROTEINS)}
    assert all(isinstance(result, Embedded) for result in found.values())
    return np.concatenate([found[i].logits[0] for i in range(len(PROTEINS))])  # type: ignore[union-attr, index]


def of_module(trained: Trained) -> np.ndarray:
    """The same from the module that was trained, LoRA layers in place."""
    pack, found = pack_of(trained.base), list[Tensor]()
    ids = pack.ids.copy()
    ids[pack.chosen] = pack.targets
    inside = np.setdiff1d(np.arange(len(ids)), np.concatenate([pack.rows[:-1], pack.rows[1:] - 1]))
    whole = replace(pack, ids=ids, chosen=inside, targets=ids[inside])

    def keep(module: nn.Module, given: tuple[Tensor, ...], logits: Tensor) -> None:
        found.append(logits)

    hook = trained.model.lm_head.register_forward_hook(keep)
    trained.model.eval()
    with torch.no_grad():
        trained.model(**trained.model.to_device(whole))
    hook.remove()
    return found[0].numpy()


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """Largest difference, relative to the largest value."""
    return float(np.abs(one - other).max() / np.abs(other).max())


def matrices(updates: Updates) -> list[LoRA]:
    return list(updates.layers.values())


# --- what is trained ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["esm2", "esmc"])
def test_an_update_is_nothing_until_it_is_trained(family: str, bases: dict[str, Path]) -> None:
    model = MaskedModel.load(bases[family], device="cpu", dtype="float32")
    before = loss(model, bases[family])
    updates = add_adapters(model, open_checkpoint(str(bases[family])), targets=EVERY, rank=4)
    assert torch.equal(loss(model, bases[family]), before)
    for update in matrices(updates):
        bound = update.lora_A.shape[1] ** -0.5
        assert 0.8 * bound < update.lora_A.abs().max() <= bound and not update.lora_B.any()
        assert update.lora_A.dtype == update.lora_B.dtype == torch.float32


@pytest.mark.parametrize("family", ["esm2", "esmc"])
def test_query_key_and_value_of_every_layer_and_nothing_else_is_trained(family: str, bases: dict[str, Path]) -> None:
    model = MaskedModel.load(bases[family], device="cpu", dtype="float32")
    updates = add_adapters(model, open_checkpoint(str(bases[family])))
    trainable = {id(p) for p in model.parameters() if p.requires_grad}
    assert trainable == {id(p) for p in updates.tensors().values()} and len(trainable) == 2 * 3 * 2
    assert all(re.fullmatch(NAMES[family], name) for name in updates.tensors())
    model(**model.to_device(pack_of(bases[family]))).backward()
    assert {id(p) for p in model.parameters() if p.grad is not None} == trainable


def test_the_same_seed_draws_the_same_factors(bases: dict[str, Path]) -> None:
    drawn = []
    for seed in (1, 1, 2):
        model = MaskedModel.load(bases["esm2"], device="cpu", dtype="float32")
        updates = add_adapters(model, open_checkpoint(str(bases["esm2"])), seed=seed)
        drawn.append(torch.cat([update.lora_A.flatten() for update in matrices(updates)]))
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("name", ["esm2", "esmc", "nf4", "hqq"])
def test_training_lowers_the_loss_and_leaves_the_base_as_it_was(name: str, trained: dict[str, Trained]) -> None:
    run = trained[name]
    plain = MaskedModel.load(run.base, device="cpu", dtype="float32")
    if quantised := run.updates.quantization:
        add_adapters(plain, open_checkpoint(str(run.base)), quantization=quantised)
    assert loss(run.model, run.base) < loss(plain, run.base) - 1.0
    held = dict(run.model.named_parameters())
    for layer, matrix in held.items():
        if ".lora_" not in layer and not quantised:
            assert torch.equal(matrix, dict(plain.named_parameters())[layer.replace(".base.", ".")]), layer


@pytest.mark.parametrize("kind", ["int4", "hqq:4", "hqq:3", "hqq:2"])
def test_gradients_on_few_bits_are_those_on_the_decoded_matrices(kind: Any, bases: dict[str, Path]) -> None:
    grads: list[dict[str, Tensor]] = []
    for decoded in (False, True):
        model = MaskedModel.load(bases["esm2"], device="cpu", dtype="float32")
        updates = add_adapters(model, open_checkpoint(str(bases["esm2"])), quantization=kind)
        with torch.no_grad():
            for update in matrices(updates):
                update.lora_B.normal_(0, 0.1, generator=torch.Generator().manual_seed(0))
        if decoded:
            for parent in list(model.modules()):
                for part, child in list(parent.named_children()):
                    if isinstance(child, PackedLinear):
                        setattr(parent, part, plain(child))
        model(**model.to_device(pack_of(bases["esm2"]))).backward()
        grads.append({name: p.grad for name, p in updates.tensors().items() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys() and len(grads[0]) == 12
    assert all(torch.equal(grads[0][name], grads[1][name]) and grads[0][name].any() for name in grads[0])


def plain(layer: PackedLinear) -> nn.Linear:
    """A frozen float Linear of the matrix as the bits decode."""
    made = nn.Linear(layer.shape[1], layer.shape[0], layer.bias is not None)
    made.weight, made.bias = nn.Parameter(layer.matrix(), requires_grad=False), layer.bias
    return made


def test_what_cannot_be_trained_is_refused(bases: dict[str, Path], tmp_path: Path) -> None:
    base, found = bases["esm2"], open_checkpoint(str(bases["esm2"]))
    with pytest.raises(ConfigError, match="lora_targets: no querry; choose from query, key, value, output, ffn"):
        add_adapters(MaskedModel.load(base, device="cpu", dtype="float32"), found, targets=("querry",))
    with pytest.raises(ConfigError, match="lora_rank: 65 is not between 1 and 64"):
        add_adapters(MaskedModel.load(base, device="cpu", dtype="float32"), found, rank=65)
    with pytest.raises(CheckpointError, match="has no language-model head"):
        headless = replace(found, facts=replace(found.facts, has_lm_head=False))
        add_adapters(MaskedModel.load(base, device="cpu", dtype="float32"), headless)


def test_an_int8_base_is_refused(bases: dict[str, Path]) -> None:
    model = MaskedModel.load(bases["esm2"], device="cpu", dtype="float32")
    layers = model.family.stack(model.get_submodule(model.prefix)).layers
    quantize(layers, method("int8", torch.float32), torch.device("cpu"))
    with pytest.raises(EncoderError, match="quantised in a way that no gradient passes through"):
        add_adapters(model, open_checkpoint(str(bases["esm2"])))


# --- directories ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["esm2", "esmc", "nf4", "hqq"])
def test_a_kept_adapter_embeds_as_the_module_that_was_trained(name: str, trained: dict[str, Trained]) -> None:
    run = trained[name]
    assert apart(stored(run.kept), of_module(run)) < 1e-5
    assert apart(stored(run.base), of_module(run)) > 0.05


@pytest.mark.parametrize("name", ["esm2", "esmc"])
def test_a_merged_checkpoint_embeds_as_the_module_and_is_an_ordinary_one(
    name: str, trained: dict[str, Trained], tmp_path: Path
) -> None:
    run = trained[name]
    directory = merge(run.kept, tmp_path / "merged")
    found, kept = open_checkpoint(str(directory)), open_checkpoint(str(run.kept))
    assert apart(stored(directory), of_module(run)) < 1e-5
    assert found.facts == kept.facts and found.facts.trained_length == 1500
    assert found.adapter is None and found.files.keys() == {"model.safetensors", "config", "vocabulary"}
    marker = json.loads((directory / "config.json").read_text())["protea_ray"]
    assert marker == {
        "trained": True, "merged_into": "float",
        "parent": {"model": str(run.base), "revision": None, "files": open_checkpoint(str(run.base)).files},
        "adapter": kept.files["adapter_model.safetensors"], "trained_residues": 1500,
    }  # fmt: skip


def test_transformers_opens_a_merged_checkpoint(trained: dict[str, Trained], tmp_path: Path) -> None:
    from transformers import EsmForMaskedLM

    run, pack = trained["esm2"], pack_of(trained["esm2"].base, PROTEINS[:1])
    model = EsmForMaskedLM.from_pretrained(merge(run.kept, tmp_path / "merged")).eval()
    ids = pack.ids.copy()
    ids[pack.chosen] = pack.targets
    with torch.no_grad():
        logits = model(torch.from_numpy(ids)[None]).logits[0, 1:-1].numpy()
    assert apart(logits, of_module(run)[: len(logits)]) < 1e-5


@pytest.mark.parametrize(("name", "kind"), [("nf4", "int4"), ("hqq", "hqq:2")])
def test_an_adapter_of_few_bits_is_merged_into_what_they_decode_to_and_into_nothing_else(
    name: str, kind: str, trained: dict[str, Trained], tmp_path: Path
) -> None:
    run = trained[name]
    with pytest.raises(ConfigError, match=rf"trained on a base in {kind}; .*merge dequantised"):
        merge(run.kept, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
    directory = merge(run.kept, tmp_path / "merged", "dequantised")
    assert apart(stored(directory), of_module(run)) < 1e-5
    assert open_checkpoint(str(directory)).facts.quantization is None
    with pytest.raises(ConfigError, match="was trained on float weights"):
        merge(trained["esm2"].kept, tmp_path / "other", "dequantised")


def test_merging_takes_an_adapter_and_an_empty_place(trained: dict[str, Trained], tmp_path: Path) -> None:
    run = trained["esm2"]
    with pytest.raises(ConfigError, match="is a whole model"):
        merge(run.base, tmp_path / "merged")
    (tmp_path / "held").mkdir()
    (tmp_path / "held" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty"):
        merge(run.kept, tmp_path / "held")


def test_a_float_adapter_is_quantised_with_its_base(trained: dict[str, Trained], tmp_path: Path) -> None:
    """As the merged checkpoint is, and in half precision too the sum is rounded once."""
    run = trained["esm2"]
    directory = merge(run.kept, tmp_path / "merged")
    for fields in ({"quantization": "int4"}, {"dtype": "bfloat16"}):
        assert np.array_equal(stored(run.kept, **fields), stored(directory, **fields)), fields


def test_an_adapter_on_an_adapter_is_refused(trained: dict[str, Trained]) -> None:
    run = trained["esm2"]
    with pytest.raises(CheckpointError, match="is an adapter itself; merge it first"):
        add_adapters(run.model, open_checkpoint(str(run.kept)))


def test_a_resume_takes_the_factors_up_again(trained: dict[str, Trained]) -> None:
    run = trained["esm2"]
    model = MaskedModel.load(run.base, device="cpu", dtype="float32")
    updates = add_adapters(model, open_checkpoint(str(run.base)), rank=4, alpha=8.0, targets=EVERY)
    updates.read(run.kept)
    assert torch.equal(loss(model, run.base), loss(run.model, run.base))
    fewer = MaskedModel.load(run.base, device="cpu", dtype="float32")
    with pytest.raises(CheckpointError, match="an adapter of other matrices"):
        add_adapters(fewer, open_checkpoint(str(run.base)), rank=4).read(run.kept)


def test_the_files_are_in_pefts_layout(trained: dict[str, Trained]) -> None:
    run = trained["esm2"]
    settings = json.loads((run.kept / "adapter_config.json").read_text())
    assert settings["peft_type"] == "LORA" and (settings["r"], settings["lora_alpha"]) == (4, 8.0)
    assert settings["base_model_name_or_path"] == str(run.base)
    held = load_file(run.kept / "adapter_model.safetensors")
    modules = {name.removeprefix("base_model.model.").rpartition(".lora_")[0] for name in held}
    assert len(modules) == 2 * 6 and all(re.fullmatch(settings["target_modules"], module) for module in modules)
    assert not re.fullmatch(settings["target_modules"], "lm_head.dense")
    marker = json.loads((run.kept / "protea_ray.json").read_text())
    assert marker == {
        "trained_residues": 1500, "trained": True, "base": open_checkpoint(str(run.base)).files, "quantization": None,
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")  # of transformers, at a use in peft
@pytest.mark.parametrize("name", ["esm2", "esmc"])
def test_peft_reads_the_directory_as_the_same_function(name: str, trained: dict[str, Trained]) -> None:
    peft: Any = pytest.importorskip("peft", reason="peft is not installed; it is no part of this package")
    from transformers import AutoModelForMaskedLM

    run, pack = trained[name], pack_of(trained[name].base, PROTEINS[:1])
    ids = pack.ids.copy()
    ids[pack.chosen] = pack.targets
    base = AutoModelForMaskedLM.from_pretrained(run.base)
    model = peft.PeftModel.from_pretrained(base, str(run.kept)).eval()
    with torch.no_grad():
        logits = model(input_ids=torch.from_numpy(ids)[None]).logits[0, 1:-1].numpy()
    assert apart(logits, of_module(run)[: len(logits)]) < 1e-6
