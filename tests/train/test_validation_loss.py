"""The validation loss against sums written out protein by protein."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from protea_ray.encoder.masked_loss import letters_loss
from protea_ray.train.masking import MaskedPack
from protea_ray.train.validation_loss import validation_loss


def pack(sizes: list[int], chosen: list[int], examples: list[int]) -> MaskedPack:
    rows = np.concatenate([[0], np.cumsum(sizes)])
    zero = np.zeros(rows[-1], np.int64)
    return MaskedPack(zero, zero, rows, np.array(chosen), np.zeros(len(chosen), np.int64), np.array(examples))


def test_targets_are_counted_for_their_proteins_and_lengths() -> None:
    packs = [pack([4, 6], [0, 3, 4, 9], [7, 2]), pack([5], [2], [0])]
    values = [torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([8.0])]
    lengths = np.array([2000, 9, 100, 9, 9, 9, 9, 130])
    given = iter(values)
    found = validation_loss(packs, lengths, lambda _: ((v := next(given)) + 1, v), rank=0, world=1)
    sums, counts = np.array([3.0, 7.0, 8.0]), np.array([2, 2, 1])
    assert found.loss_20 == pytest.approx(18 / 5) and found.loss == pytest.approx(23 / 5)
    assert (found.proteins, found.targets) == (3, 5)
    assert found.by_length == {
        "<=128": {"loss_20": 3.5, "proteins": 1}, "<=256": {"loss_20": 1.5, "proteins": 1},
        ">1022": {"loss_20": 8.0, "proteins": 1},
    }  # fmt: skip
    assert found.standard_error == pytest.approx(np.sqrt(((sums - 3.6 * counts) ** 2).sum()) / 5)


def test_a_loss_over_twenty_letters_ignores_every_other_token() -> None:
    torch.manual_seed(0)
    logits, letters = torch.randn(6, 33), torch.arange(4, 24)
    targets = torch.tensor([4, 5, 10, 23, 7, 7])
    expected = torch.nn.functional.cross_entropy(logits[:, 4:24], targets - 4, reduction="none")
    torch.testing.assert_close(letters_loss(logits, targets, letters), expected)
