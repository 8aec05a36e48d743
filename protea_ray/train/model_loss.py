"""The validation loss of the model of a run, and of one whose feature maps are learned: what it is to come near."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from protea_ray.encoder.masked_loss import letters_loss
from protea_ray.train.distil import Distillation
from protea_ray.train.masked_model import MaskedModel
from protea_ray.train.masking import MaskedPack
from protea_ray.train.training_set import TrainingSet
from protea_ray.train.validation_loss import TargetLosses, ValidationLoss, summed, validation_loss


def model_loss(
    model: MaskedModel, packs: Sequence[MaskedPack], data: TrainingSet, *, rank: int, world: int
) -> ValidationLoss:
    """Losses of `packs` of `data`, the same on every rank; the model is in training mode before and afterwards."""
    return _evaluated(model, packs, data, _losses(model, data), rank, world)


def distilled_loss(
    distillation: Distillation, packs: Sequence[MaskedPack], data: TrainingSet, *, rank: int, world: int
) -> ValidationLoss:
    """Losses under the learned maps, and beside them those under exact attention and how near each layer's outputs are.

    `mse` is the mean over layers, `mse_by_layer` (layers,) per token; `relative_error_by_layer` is the root of each
    over that of the exact outputs' mean square.
    """
    model = distillation.model
    sums = np.zeros((len(distillation.maps), 2))
    plain = _losses(model, data)

    def compared(pack: MaskedPack) -> tuple[Tensor, Tensor]:
        with distillation.comparing(pack.rows) as errors:
            found = plain(pack)
        sums[:] += [[float(error), float(size)] for error, size in errors]
        return found

    exact = _evaluated(model, packs, data, compared, rank, world)
    with distillation.as_learned():
        learned = _evaluated(model, packs, data, plain, rank, world)
    error, size = (summed(sums) if world > 1 else sums).T
    by_layer = error / sum(int(pack.rows[-1]) for pack in packs)
    beside = {
        "loss_exact": exact.loss, "loss_20_exact": exact.loss_20, "mse": float(by_layer.mean()),
        "mse_by_layer": by_layer.tolist(), "relative_error_by_layer": np.sqrt(error / size).tolist(),
    }  # fmt: skip
    return replace(learned, beside=beside)


def _losses(model: MaskedModel, data: TrainingSet) -> TargetLosses:
    letters = torch.from_numpy(data.amino_acids).to(model.device)

    def losses(pack: MaskedPack) -> tuple[Tensor, Tensor]:
        inputs = model.to_device(pack)
        targets = inputs.pop("targets")
        with torch.no_grad():
            logits = model.logits(**inputs)
        whole = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        return whole, letters_loss(logits, targets, letters)

    return losses


def _evaluated(
    model: MaskedModel, packs: Sequence[MaskedPack], data: TrainingSet, losses: TargetLosses, rank: int, world: int
) -> ValidationLoss:
    model.eval()
    try:
        return validation_loss(packs, data.proteins.lengths, losses, rank=rank, world=world)
    finally:
        model.train()
