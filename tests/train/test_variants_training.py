"""Training under another attention: packs, recomputed layers and half precision, and gradients against a dense mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AttentionInterface

from protea_ray.encoder.collect import Embedded
from protea_ray.train.masked_model import MaskedModel
from tests.encoder.conftest import load as load_encoder
from tests.encoder.conftest import proteins
from tests.train.packs import furthest, gradients, masked_pack, plain_gradients, proteins_of

FORMS = ["global:8", "bigbird:8,3,1,2,0", "nystrom:8", "favor:64,0"]
PACK = masked_pack(1, 33, 2, 130, 7)
Built = Callable[[str], Path]


def load(directory: Path, attention: str, dtype: str = "float32", checkpointing: bool = False) -> MaskedModel:
    return MaskedModel.load(directory, device="cpu", attention=attention, dtype=dtype, checkpointing=checkpointing)


@pytest.mark.parametrize("family", ["esm2", "esmc"])
def test_loss_and_every_gradient_of_global_attention_equal_a_dense_mask(family: str, checkpoint: Built) -> None:
    def dense(module: Any, q: Tensor, k: Tensor, v: Tensor, mask: Any, scaling: float, **_: Any) -> Any:
        place = torch.arange(q.shape[2])
        seen = (place[:, None] - place).abs() <= 8
        seen[[0, -1]], seen[:, [0, -1]] = True, True
        weights = (q @ k.transpose(2, 3) * scaling).masked_fill(~seen, float("-inf")).softmax(-1)
        return (weights @ v).transpose(1, 2), None

    AttentionInterface.register("dense-global", dense)
    pack, directory = masked_pack(600, 20), checkpoint(family)
    theirs = plain_gradients(family, directory, pack, "dense-global")
    ours = gradients(load(directory, "global:8"), pack)
    assert abs(ours[0] - theirs[0]) < 1e-5 * abs(theirs[0])
    assert furthest(ours[1], theirs[1]) < 1e-5


@pytest.mark.parametrize("form", FORMS)
def test_a_pack_equals_each_protein_alone_also_with_layers_computed_twice(form: str, checkpoint: Built) -> None:
    directory = checkpoint("esm2")
    packed = gradients(load(directory, form), PACK)
    alone = gradients(load(directory, form), *proteins_of(PACK))
    twice = gradients(load(directory, form, checkpointing=True), PACK)
    assert abs(packed[0] - alone[0]) < 1e-5 * abs(alone[0])
    assert furthest(packed[1], alone[1]) < 1e-5
    assert furthest(packed[1], twice[1]) < 1e-6


@pytest.mark.parametrize("form", FORMS)
def test_half_precision_gives_finite_gradients_near_those_of_float32(form: str, checkpoint: Built) -> None:
    directory = checkpoint("esm2")
    half, full = (gradients(load(directory, form, dtype=dtype), PACK) for dtype in ("bfloat16", "float32"))
    assert abs(half[0] - full[0]) < 0.02 * abs(full[0])
    assert all(bool(gradient.isfinite().all()) for gradient in half[1].values())


def test_training_does_not_stop_where_nystrom_is_far_from_exact(checkpoint: Built, monkeypatch: Any) -> None:
    """A model learns to live with its attention; in validation, without gradients, too."""
    monkeypatch.setattr("protea_ray.encoder.attention.LARGEST_ERROR", 0.0)
    model = load(checkpoint("esm2"), "nystrom:8")
    with torch.no_grad():
        assert model(**model.to_device(PACK)).isfinite()


@pytest.mark.parametrize("form", FORMS)
def test_training_computes_what_the_encoder_computes(form: str, checkpoint: Built) -> None:
    """Random features are drawn by layer: both loops must number layers alike."""
    directory, (sequence,) = checkpoint("esm2"), proteins(90)
    fields = {"attention": form, "outputs": ("embeddings", "logits"), "pooling": ("none",)}
    encoder = load_encoder(directory, fields)
    encoder = replace(encoder, core=replace(encoder.core, certified=False))
    (result,) = encoder.embed([sequence])
    assert isinstance(result, Embedded)
    assert result.logits is not None
    ids = encoder.alphabet.window(encoder.alphabet.residues(sequence))
    rows, places = np.array([0, len(ids)]), torch.arange(len(ids))
    with torch.no_grad():
        found = load(directory, form).eval().logits(
            torch.from_numpy(ids), places, torch.from_numpy(rows.astype(np.int32)), rows, places[1:-1]
        )  # fmt: skip
    assert np.abs(found.numpy() - result.logits[0]).max() < 1e-5
