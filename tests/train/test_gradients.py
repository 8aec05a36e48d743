"""Loss and every gradient of a pack against transformers' own models, one protein at a time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AttentionInterface, EsmForMaskedLM

from protea_ray.encoder.acceleration import choose_compiling
from protea_ray.encoder.attention import Choice
from protea_ray.errors import EncoderError
from protea_ray.train.masked_model import MaskedModel
from tests.train.packs import furthest, gradients, masked_pack, plain_gradients, proteins_of

FAMILIES = ("esm2", "esmc")
TOLERANCE = 1e-5  # of the gradient's own size
PACK = masked_pack(1, 33, 2, 130, 7, unmasked=[1, 4])
Built = Callable[[str], Path]


def load(directory: Path, **options: Any) -> MaskedModel:
    return MaskedModel.load(directory, **{"device": "cpu", "dtype": "float32"} | options)


def require_same(ours: tuple[float, dict[str, Tensor]], theirs: tuple[float, dict[str, Tensor]]) -> None:
    assert ours[0] == pytest.approx(theirs[0], rel=TOLERANCE)
    assert furthest(ours[1], theirs[1]) < TOLERANCE


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_every_gradient_equal_transformers(family: str, attention: str, checkpoint: Built) -> None:
    """ESM-2 with token dropout: proteins with and without masked residues in one pack, each scaled by itself."""
    directory = checkpoint(family)
    require_same(gradients(load(directory), PACK), plain_gradients(family, directory, PACK, attention))


def test_without_token_dropout_and_with_a_norm_after_the_embeddings(checkpoint: Built, tmp_path: Path) -> None:
    config = json.loads((checkpoint("esm2") / "config.json").read_text())
    from transformers import EsmConfig

    torch.manual_seed(1)
    EsmForMaskedLM(
        EsmConfig(**config | {"token_dropout": False, "emb_layer_norm_before": True, "initializer_range": 0.3})
    ).save_pretrained(tmp_path)
    shutil.copy(checkpoint("esm2") / "vocab.txt", tmp_path)
    require_same(gradients(load(tmp_path), PACK), plain_gradients("esm2", tmp_path, PACK, "eager"))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pack_equals_each_protein_alone(family: str, checkpoint: Built) -> None:
    model = load(checkpoint(family))
    require_same(gradients(model, PACK), gradients(model, *proteins_of(PACK)))


@pytest.mark.parametrize("width", [1, 40])
@pytest.mark.parametrize("family", FAMILIES)
def test_local_windows_equal_a_dense_mask(family: str, width: int, checkpoint: Built) -> None:
    """600 residues are more than one block of queries."""

    def dense(module: Any, q: Tensor, k: Tensor, v: Tensor, mask: Any, scaling: float, **_: Any) -> Any:
        place = torch.arange(q.shape[2])
        far = (place[:, None] - place).abs() > width
        weights = (q @ k.transpose(2, 3) * scaling).masked_fill(far, float("-inf")).softmax(-1)
        return (weights @ v).transpose(1, 2), None

    AttentionInterface.register(f"dense-{width}", dense)
    pack, directory = masked_pack(600, 20), checkpoint(family)
    theirs = plain_gradients(family, directory, pack, f"dense-{width}")
    require_same(gradients(load(directory, attention=f"local:{width}"), pack), theirs)


def test_token_dropout_of_the_embeddings_is_that_of_each_protein_alone(checkpoint: Built) -> None:
    """The scale of one pack for all was 1.67 where a protein without masks stood beside a masked one."""
    directory = checkpoint("esm2")
    model = load(directory)
    plain = EsmForMaskedLM.from_pretrained(directory)
    inputs = model.to_device(PACK)
    ours = model.family.stack(model.get_submodule("esm")).begin(
        inputs["ids"], inputs["positions"], inputs["cu_seqlens"]
    )
    theirs = [plain.esm.embeddings(input_ids=torch.from_numpy(one.ids)[None])[0] for one in proteins_of(PACK)]
    assert torch.equal(ours[0][0], torch.cat(theirs))


def test_token_dropout_waits_for_nothing(checkpoint: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch sums the lengths of a repetition on the host unless it is told the sum: that would wait for the device."""
    told: list[Any] = []
    repeated = torch.repeat_interleave
    monkeypatch.setattr(
        torch, "repeat_interleave", lambda *given, **options: told.append(options) or repeated(*given, **options)
    )
    for name in ("item", "tolist", "__int__", "__bool__", "nonzero"):
        monkeypatch.setattr(Tensor, name, lambda *_: pytest.fail("a number was read from the device"))
    model = load(checkpoint("esm2"))
    inputs = model.to_device(PACK)
    model.family.stack(model.get_submodule("esm")).begin(inputs["ids"], inputs["positions"], inputs["cu_seqlens"])
    assert told == [{"output_size": int(PACK.rows[-1])}]


@pytest.mark.parametrize("family", FAMILIES)
def test_recomputed_layers_give_the_same_gradients_and_dropout(family: str, checkpoint: Built) -> None:
    made = [load(checkpoint(family), dropout=0.2, checkpointing=on) for on in (False, True)]
    both = []
    for model in made:
        torch.manual_seed(3)
        both.append(gradients(model, PACK))
    assert both[0][0] == both[1][0]
    assert all(torch.equal(both[0][1][name], both[1][1][name]) for name in both[0][1])


def test_recomputing_keeps_less(checkpoint: Built) -> None:
    """Elements that autograd keeps for the backward pass."""
    kept = []
    for on in (False, True):
        model, sizes = load(checkpoint("esm2"), checkpointing=on), []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):  # noqa: B023
            model(**model.to_device(PACK))
        kept.append(sum(sizes))
    assert kept[1] < kept[0] / 3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # of the compiler's own looking
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_compiled_layers_give_the_same_gradients(family: str, dtype: str, checkpoint: Built) -> None:
    """Two packs of other lengths: the second one runs the code of the first."""
    try:
        choose_compiling("cpu", "sdpa", asked="on")
    except EncoderError:
        pytest.skip("no C++ compiler here")
    packs = [PACK, masked_pack(40, 61, 5, seed=1)]
    plain = load(checkpoint(family), dtype=dtype)
    model = load(checkpoint(family), dtype=dtype, compiled=True)
    for pack in packs:
        theirs, ours = gradients(plain, pack), gradients(model, pack)
        limit = TOLERANCE if dtype == "float32" else 0.05  # fused code rounds to half at other places
        assert ours[0] == pytest.approx(theirs[0], rel=limit / 2)
        assert furthest(ours[1], theirs[1]) < limit


@pytest.mark.parametrize("local", ["exact", "local:3"])
@pytest.mark.parametrize("family", FAMILIES)
def test_flash_attention_gets_scale_window_and_lengths_and_gives_gradients(
    family: str, local: str, checkpoint: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What CUDA runs in half precision, with the kernel replaced by one that keeps its contract."""
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", flash)
    model = load(checkpoint(family), attention=local)
    expected = gradients(model, PACK)
    model.kernel = Choice("varlen", "a test")
    require_same(gradients(model, PACK), expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_flash_attention_gets_half_precision_in_all_three(
    family: str, checkpoint: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ESM-C norms queries and keys, which autocast leaves in float32; the kernel takes half only."""
    seen = set()
    monkeypatch.setattr(
        "torch.nn.attention.varlen.varlen_attn",
        lambda q, k, v, *given, **options: seen.add((q.dtype, k.dtype, v.dtype)) or flash(q, k, v, *given, **options),
    )
    model = load(checkpoint(family), dtype="bfloat16")
    model.kernel = Choice("varlen", "a test")
    gradients(model, PACK)
    with torch.no_grad():
        model(**model.to_device(PACK))
    assert seen == {(torch.bfloat16,) * 3}


def flash(
    q: Tensor, k: Tensor, v: Tensor, cu_q: Tensor, cu_k: Tensor, max_q: int, max_k: int, *,
    scale: float | None = None, window_size: tuple[int, int] = (-1, -1),
) -> Tensor:  # fmt: skip
    """Attention of packed sequences by one dense mask, from the documentation of `varlen_attn`."""
    assert cu_q.dtype == cu_k.dtype == torch.int32
    assert torch.equal(cu_q, cu_k)
    assert max_q == max_k == int(cu_q.diff().max())
    protein = torch.repeat_interleave(torch.arange(len(cu_q) - 1), cu_q.diff())
    place = torch.arange(len(protein))
    left, right = (np.inf if side < 0 else side for side in window_size)
    offset = place - place[:, None]
    seen = (protein[:, None] == protein) & (offset >= -left) & (offset <= right)
    scores = torch.einsum("ihd,jhd->hij", q.float(), k.float()) * (q.shape[2] ** -0.5 if scale is None else scale)
    weights = scores.masked_fill(~seen, float("-inf")).softmax(-1)
    return torch.einsum("hij,jhd->ihd", weights, v.float()).to(q.dtype)
