"""A step against plain torch: mean loss over all targets, clipped by torch, moved by torch's unfused AdamW."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from protea_ray.train.masked_model import MaskedModel
from protea_ray.train.optimiser import Optimiser, learning_rate
from protea_ray.train.shape import write_fresh
from protea_ray.train.step import RankPack, Stepper
from protea_ray.train.training_set import training_set
from tests.train.runs import proteins, recipe

STEPS = 12


def test_twelve_steps_are_those_of_plain_torch(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    config = recipe(tmp_path, clip=0.5)
    start = write_fresh(tmp_path / "start", config.shape or "", 0)
    ours, plain = (MaskedModel.load(start, device="cpu", dtype="float32") for _ in range(2))
    data = training_set(proteins(), start, config)
    stepper = Stepper(ours, Optimiser(ours, config), config)
    matrices = [value for value in plain.parameters() if value.ndim == 2]
    others = [value for value in plain.parameters() if value.ndim < 2]
    reference = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}],
        betas=(config.beta1, config.beta2), eps=config.epsilon, fused=False, foreach=False,
    )  # fmt: skip
    steps = data.plan.steps(0, 0)
    for number in range(STEPS):
        planned = next(steps)
        packs = [data.pack(planned, i) for i in range(len(planned.packs))]
        inputs = [RankPack(i, ours.to_device(pack), len(pack.targets)) for i, pack in enumerate(packs)]
        pending, rate = stepper.run(number, STEPS, inputs, lambda pack: [])
        result = pending.result()

        reference.zero_grad(set_to_none=True)
        scores, targets = _scores(plain, packs)
        loss = F.cross_entropy(scores, targets)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(list(plain.parameters()), config.clip or 0)
        for group in reference.param_groups:
            group["lr"] = learning_rate(config, number, STEPS)
        reference.step()

        assert rate == learning_rate(config, number, STEPS)
        assert result.targets == len(targets)
        torch.testing.assert_close(torch.tensor(result.loss), loss.detach(), rtol=1e-5, atol=0)
        torch.testing.assert_close(torch.tensor(result.gradient_norm), norm, rtol=1e-3, atol=0)
    for name, value in plain.named_parameters():
        torch.testing.assert_close(ours.get_parameter(name), value, rtol=0, atol=1e-5, msg=name)


def _scores(model: MaskedModel, packs: list) -> tuple[Tensor, Tensor]:
    """Scores and targets of all packs in a row."""
    inputs = [model.to_device(pack) for pack in packs]
    targets = torch.cat([held.pop("targets") for held in inputs])
    return torch.cat([model.logits(**held) for held in inputs]), targets
