"""The loss on the validation side: fixed proteins, a fixed mask, by length of the protein.

Reported in nats over all tokens of the vocabulary, as training has it, and renormalised on the 20 amino acids, as the
baselines have it. A mean is over targets; its standard error is over proteins, since targets of one protein are alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from protea_ray.train.masking import MaskedPack

BINS = (128, 256, 512, 1022)  # residues; the last bin is longer than all
TargetLosses = Callable[[MaskedPack], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class ValidationLoss:
    """Mean losses in nats: `loss` over the vocabulary, `loss_20` over the amino acids, with `standard_error` of it.

    `by_length` has loss_20 and the number of proteins by the longest length of a bin. `beside` is what else was
    measured on the same proteins, by name.
    """

    loss: float
    loss_20: float
    standard_error: float
    proteins: int
    targets: int
    by_length: dict[str, dict[str, float]]
    beside: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def to_json(self) -> dict[str, Any]:
        """As a line of metrics.jsonl has it."""
        own = {name: value for name, value in vars(self).items() if name != "beside"}
        return {**own, **self.beside, "perplexity": math.exp(self.loss_20)}


def validation_loss(
    packs: Sequence[MaskedPack], lengths: np.ndarray, losses: TargetLosses, *, rank: int, world: int
) -> ValidationLoss:
    """Evaluate every pack once, `packs[rank::world]` here; all ranks return the same numbers.

    `lengths` (n,) are the residues of every protein; `losses` gives both losses of each target of a pack, (m,) each.
    """
    examples = np.concatenate([pack.examples for pack in packs])
    place = {int(example): i for i, example in enumerate(examples)}
    sums = np.zeros((len(examples), 3))
    waiting = [(pack, losses(pack)) for pack in packs[rank::world]]  # none is read before all are under way
    for pack, (whole, letters) in waiting:
        owner = np.searchsorted(pack.rows, pack.chosen, side="right") - 1
        at = np.array([place[int(example)] for example in pack.examples])[owner]
        for column, values in enumerate((whole.double().cpu().numpy(), letters.double().cpu().numpy(), 1.0)):
            np.add.at(sums[:, column], at, values)
    if world > 1:
        sums = summed(sums)
    return _summary(sums, lengths[examples])


def summed(values: np.ndarray) -> np.ndarray:
    """The sum of an array over all ranks."""
    device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
    tensor = torch.from_numpy(values).to(device)
    torch.distributed.all_reduce(tensor)
    return tensor.cpu().numpy()


def _summary(sums: np.ndarray, lengths: np.ndarray) -> ValidationLoss:
    whole, letters, count = sums.T
    mean = letters.sum() / count.sum()
    spread = np.sqrt(((letters - mean * count) ** 2).sum()) / count.sum()  # of a ratio of sums over proteins
    by_length = {}
    for shortest, longest in zip((0, *BINS), (*BINS, None), strict=True):
        inside = (lengths > shortest) & (lengths <= (longest or lengths.max()))
        if count[inside].sum():
            name = f"<={longest}" if longest else f">{shortest}"
            loss = letters[inside].sum() / count[inside].sum()
            by_length[name] = {"loss_20": float(loss), "proteins": int(inside.sum())}
    return ValidationLoss(
        float(whole.sum() / count.sum()), float(mean), float(spread), len(lengths), int(count.sum()), by_length
    )
