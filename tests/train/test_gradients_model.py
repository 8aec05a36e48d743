"""The trainable model around its gradients: weights of its own, tied head, half precision, dropout, and its files."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from protea_ray.encoder import attention
from protea_ray.encoder.acceleration import OneDnnLinear
from protea_ray.errors import EncoderError
from protea_ray.models.untrained import untrained_checkpoint
from protea_ray.train import masked_model
from protea_ray.train.masked_model import MaskedModel
from tests.encoder.conftest import load as load_encoder
from tests.encoder.conftest import proteins
from tests.train.packs import PLAIN, gradients, masked_pack

FAMILIES = ("esm2", "esmc")
PACK = masked_pack(33, 90, 7)
Built = Callable[[str], Path]


def load(directory: Path, **options: Any) -> MaskedModel:
    return MaskedModel.load(directory, **{"device": "cpu", "dtype": "float32"} | options)


def train(model: MaskedModel, steps: int = 2) -> MaskedModel:
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(steps):
        optimiser.zero_grad()
        model(**model.to_device(PACK)).backward()
        optimiser.step()
    return model


def write(model: MaskedModel, start: Path, directory: Path) -> Path:
    shutil.copytree(start, directory)
    save_file(model.tensors(), directory / "model.safetensors", metadata={"format": "pt"})
    return directory


@pytest.mark.parametrize("family", FAMILIES)
def test_trained_weights_open_as_an_encoder_and_in_transformers(family: str, checkpoint: Built, tmp_path: Path) -> None:
    model = train(load(checkpoint(family), dtype="float32"))
    directory = write(model, checkpoint(family), tmp_path / "model")

    held = load_file(checkpoint(family) / "model.safetensors")
    written = load_file(directory / "model.safetensors")
    assert written.keys() == {name for name in held if "contact_head" not in name}
    assert all(tensor.dtype == torch.float32 for tensor in written.values())
    moved = [name for name in written if not torch.equal(written[name], held[name])]
    assert {name for name in written if name not in moved} <= {"esm.rotary_embeddings.inv_freq"}

    plain = PLAIN[family].from_pretrained(directory)
    again = {name: tensor for name, tensor in plain.state_dict().items() if name in written}
    assert again.keys() == written.keys()
    assert all(torch.equal(again[name], written[name]) for name in written)

    (sequence,) = proteins(60, letters="ACDEFGHIKLMNPQRSTVWY")
    run = load_encoder(directory, {"outputs": ("embeddings", "logits")})
    (result,) = run.embed([sequence])
    ids = torch.from_numpy(run.alphabet.window(run.alphabet.residues(sequence)))
    with torch.no_grad():
        ours = model.logits(ids, torch.arange(62), torch.tensor([0, 62], dtype=torch.int32), np.array([0, 62]),
                            torch.arange(1, 61))  # fmt: skip
    assert result.logits is not None
    assert np.abs(result.logits[0] - ours.numpy()).max() < 2e-6 * np.abs(result.logits[0]).max()


def test_embedding_and_decoder_of_esm2_are_one_parameter(checkpoint: Built) -> None:
    model = train(load(checkpoint("esm2")))
    embedding = model.get_parameter("esm.embeddings.word_embeddings.weight")
    assert model.get_parameter("lm_head.decoder.weight") is embedding
    names = [name for name, _ in model.named_parameters()]
    assert "lm_head.decoder.weight" not in names
    assert not [name for name in names if "contact_head" in name]


def test_the_decoder_of_esmc_is_its_own(checkpoint: Built) -> None:
    model = load(checkpoint("esmc"))
    assert model.get_parameter("lm_head.decoder.weight") is not model.get_parameter("esmc.embed_tokens.weight")
    assert "lm_head.decoder.bias" in model.tensors()
    assert "esmc.layers.0.mlp.gate_proj.weight" in model.tensors()


def test_a_head_that_the_files_lack_is_fresh_and_the_same_in_every_process() -> None:
    one, other = (load(untrained_checkpoint()) for _ in range(2))
    torch.manual_seed(5)
    dense = one.get_parameter("lm_head.dense.weight")
    assert torch.equal(dense, other.get_parameter("lm_head.dense.weight"))
    assert dense.std().item() == pytest.approx(0.02, rel=0.02)
    assert torch.equal(one.get_parameter("lm_head.layer_norm.weight"), torch.ones(320))
    assert one.get_parameter("lm_head.decoder.weight") is one.get_parameter("esm.embeddings.word_embeddings.weight")
    assert one(**one.to_device(PACK)).item() / len(PACK.targets) == pytest.approx(np.log(33), abs=0.2)


def test_training_writes_into_memory_of_its_own(checkpoint: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are mapped from the file, for all processes of a node."""
    mapped: dict[str, int] = {}
    made = masked_model.make_trainable

    def watched(module: nn.Module) -> None:
        mapped.update({f"esm.{name}": parameter.data_ptr() for name, parameter in module.named_parameters()})
        made(module)

    monkeypatch.setattr(masked_model, "make_trainable", watched)
    file = checkpoint("esm2") / "model.safetensors"
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    model = train(load(checkpoint("esm2")))
    assert len(mapped) > 50
    assert not [name for name, place in mapped.items() if model.get_parameter(name).data_ptr() == place]
    assert hashlib.sha256(file.read_bytes()).hexdigest() == before


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_keeps_weights_attention_rotation_head_and_loss_in_float32(
    family: str, dtype: str, checkpoint: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, set[torch.dtype]] = {"attention": set(), "product": set(), "rotation": set(), "head": set()}
    real = attention.F.scaled_dot_product_attention

    def watched(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
        out = real(q, k, v, **options)
        seen["attention"] |= {q.dtype, k.dtype, v.dtype, out.dtype}
        return out

    monkeypatch.setattr(attention.F, "scaled_dot_product_attention", watched)
    model = load(checkpoint(family), dtype=dtype)
    first = model.family.stack(model.get_submodule(model.prefix)).layers[0]
    linears = [part for part in first.modules() if isinstance(part, nn.Linear)]
    for part in linears:
        part.register_forward_hook(lambda m, given, out: seen["product"].add(out.dtype))
    first.register_forward_pre_hook(
        lambda m, given, named: seen["rotation"].update(x.dtype for x in named["position_embeddings"]),
        with_kwargs=True,
    )
    model.lm_head.register_forward_hook(lambda m, given, out: seen["head"].update((given[0].dtype, out.dtype)))
    loss, held = gradients(model, PACK)
    expected, exact = gradients(load(checkpoint(family)), PACK)
    float32 = {torch.float32}
    assert seen == {
        "attention": float32, "product": {getattr(torch, dtype)}, "rotation": float32, "head": float32,
    }  # fmt: skip
    assert {gradient.dtype for gradient in held.values()} == float32
    assert loss == pytest.approx(expected, rel=0.01)
    assert loss != expected
    cosines = [torch.cosine_similarity(held[n].flatten(), exact[n].flatten(), 0).item() for n in held]
    assert min(cosines) > 0.98


@pytest.mark.parametrize("family", FAMILIES)
def test_validation_in_half_precision_gives_the_numbers_of_training(family: str, checkpoint: Built) -> None:
    """Without gradients too attention gets what autocast made of queries, keys and values."""
    model = load(checkpoint(family), dtype="bfloat16")
    loss, _ = gradients(model, PACK)
    with torch.no_grad():
        assert model(**model.to_device(PACK)).item() == loss


@pytest.mark.parametrize("family", FAMILIES)
def test_dropout_is_what_is_asked_for_in_training_alone(family: str, checkpoint: Built) -> None:
    """Half of the entries of each branch: attention and feed-forward of three layers."""
    dropped = []
    exact, _ = gradients(load(checkpoint(family)), PACK)
    model = load(checkpoint(family), dropout=0.5)
    real = torch.nn.functional.dropout
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "torch.nn.functional.dropout",
            lambda x, p=0.5, training=True, inplace=False: dropped.append((p, training)) or real(x, p, training),
        )
        assert gradients(model, PACK)[0] != exact
    assert [given for given in dropped if given != (0.5, True)] == []
    assert len(dropped) == 6
    assert gradients(model.eval(), PACK)[0] == exact


def test_a_gradient_through_onednn_is_refused_and_not_zero() -> None:
    layer = OneDnnLinear.like(nn.Linear(8, 8))
    x = torch.randn(3, 8)
    for call in (layer, lambda given: layer.activated(given, "gelu")):
        with pytest.raises(EncoderError, match="no gradient"):
            call(x)
    layer.requires_grad_(False)
    with pytest.raises(EncoderError, match="no gradient"):
        layer(x.clone().requires_grad_())
    assert layer(x).shape == (3, 8)
    with torch.no_grad():
        assert layer.requires_grad_(True)(x).shape == (3, 8)


@pytest.mark.parametrize("family", ["t5", "ankh"])
def test_a_model_with_a_relative_bias_is_not_trained(family: str, checkpoint: Built) -> None:
    with pytest.raises(EncoderError, match="position bias"):
        load(checkpoint(family))
    q = torch.randn(1, 2, 5, 8, requires_grad=True)
    cu = torch.tensor([0, 5], dtype=torch.int32)
    with pytest.raises(EncoderError, match="position bias"):
        attention.attend(None, q, q, q, position_bias=torch.zeros(2, 9), cu_seqlens=cu, max_len=5)
