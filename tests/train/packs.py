"""Packs of random proteins for tests, and the loss and gradients that transformers gives for each protein alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import EsmcForMaskedLM, EsmForMaskedLM

from protea_ray.train.masked_model import MaskedModel
from protea_ray.train.masking import MaskedPack
from tests.train.vocabularies import CLS, EOS, MASK

PLAIN = {"esm2": EsmForMaskedLM, "esmc": EsmcForMaskedLM}


def masked_pack(*lengths: int, seed: int = 0, unmasked: Sequence[int] = ()) -> MaskedPack:
    """Proteins of `lengths` residues, every fourth residue a target and two thirds of those `<mask>`.

    The proteins of `unmasked` have targets too, but keep their residues.
    """
    draw = np.random.default_rng(seed)
    ids, chosen, targets = [], [], []
    rows = np.concatenate([[0], np.cumsum(np.array(lengths) + 2)])
    for number, length in enumerate(lengths):
        residues = draw.integers(4, 24, length)
        places = np.flatnonzero(draw.random(length) < 0.25) if length > 1 else np.array([0])
        chosen.append(places + rows[number] + 1)
        targets.append(residues[places])
        if number not in unmasked:
            residues[places[draw.random(len(places)) < 0.7]] = MASK
        ids.append(np.array([CLS, *residues, EOS]))
    positions = np.arange(rows[-1]) - np.repeat(rows[:-1], np.diff(rows))
    return MaskedPack(
        np.concatenate(ids), positions, rows, np.concatenate(chosen), np.concatenate(targets), np.arange(len(lengths))
    )


def proteins_of(pack: MaskedPack) -> list[MaskedPack]:
    """Each protein of a pack as a pack of its own."""
    alone = []
    for number, (start, end) in enumerate(zip(pack.rows[:-1], pack.rows[1:], strict=True)):
        inside = (pack.chosen >= start) & (pack.chosen < end)
        alone.append(
            MaskedPack(
                pack.ids[start:end], pack.positions[start:end], np.array([0, end - start]),
                pack.chosen[inside] - start, pack.targets[inside], np.array([number]),
            )
        )  # fmt: skip
    return alone


def plain_gradients(family: str, directory: Path, pack: MaskedPack, attention: str) -> tuple[float, dict[str, Tensor]]:
    """Sum of losses and gradients by parameter, from transformers' own model, one protein at a time."""
    model: Any = PLAIN[family].from_pretrained(directory, attn_implementation=attention).train()
    total = 0.0
    for alone in proteins_of(pack):
        logits = model(input_ids=torch.from_numpy(alone.ids)[None]).logits[0]
        loss = F.cross_entropy(logits[alone.chosen], torch.from_numpy(alone.targets), reduction="sum")
        loss.backward()
        total += loss.item()
    return total, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def gradients(model: MaskedModel, *packs: MaskedPack) -> tuple[float, dict[str, Tensor]]:
    """The same from the model under test, by the names of the files."""
    model.zero_grad()
    total = 0.0
    for pack in packs:
        loss = model(**model.to_device(pack))
        assert loss.dtype == torch.float32
        assert loss.shape == ()
        loss.backward()
        total += loss.item()
    held = {model.family.stored_name(name): parameter.grad for name, parameter in model.named_parameters()}
    assert all(gradient is not None for gradient in held.values())
    return total, {name: gradient.clone() for name, gradient in held.items() if gradient is not None}


def furthest(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """The largest difference of a gradient relative to its own size; both sides must have the same parameters."""
    assert ours.keys() == theirs.keys()
    assert all(gradient.norm() > 0 for gradient in theirs.values())
    return max(float((ours[name] - theirs[name]).norm() / theirs[name].norm()) for name in theirs)
