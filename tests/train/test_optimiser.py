"""Learning rates, weight decay, averages and the state of the optimisers, against written-out arithmetic."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from protea_ray.config.training import TrainingConfig, training_config
from protea_ray.train.optimiser import Optimiser, learning_rate


def recipe(**fields: object) -> TrainingConfig:
    return training_config({"shape": "small", "tokens": 1_000_000, "warmup_steps": 4, **fields})


class TwoLayers(nn.Module):
    """A matrix of a layer, a bias, and an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.layer = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])


@pytest.fixture
def model() -> TwoLayers:
    torch.manual_seed(0)
    return TwoLayers()


def gradients(model: nn.Module, seed: int) -> None:
    torch.manual_seed(seed)
    for value in model.parameters():
        value.grad = torch.randn_like(value)


def test_rates_rise_in_a_line_and_fall_to_nothing_by_schedule() -> None:
    top = 1.5e-3
    linear = [learning_rate(recipe(schedule="linear"), step, 14) for step in range(15)]
    assert linear[:5] == pytest.approx([top / 4, top / 2, top * 3 / 4, top, top])
    assert linear[9] == pytest.approx(top / 2)
    assert linear[13] == pytest.approx(top / 10)
    assert linear[14] == 0
    cosine = [learning_rate(recipe(schedule="cosine"), step, 14) for step in range(15)]
    assert cosine[9] == pytest.approx(top / 2)
    assert cosine[6] == pytest.approx(top * (1 + math.cos(math.pi * 0.2)) / 2)
    assert [learning_rate(recipe(schedule="constant"), step, 14) for step in (4, 9, 13)] == [top] * 3
    assert learning_rate(recipe(), 1, 2) == top  # a run shorter than its warm-up reaches the rate all the same


def test_decay_falls_on_matrices_alone(model: TwoLayers) -> None:
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    for value in model.parameters():
        value.grad = torch.zeros_like(value)
    rate = Optimiser(model, recipe(warmup_steps=0, weight_decay=0.5)).update(0, 10)
    for name, value in model.named_parameters():
        expected = before[name] * (1 - rate * 0.5) if value.ndim == 2 else before[name]
        torch.testing.assert_close(value.detach(), expected, rtol=1e-6, atol=0)


def test_muon_has_the_matrices_of_layers_and_adamw_the_rest(model: TwoLayers) -> None:
    twin = TwoLayers()
    twin.load_state_dict(model.state_dict())
    for one, kind in ((model, "muon"), (twin, "adamw")):
        gradients(one, 1)
        Optimiser(one, recipe(optimiser=kind, warmup_steps=0)).update(0, 10)
    other = {
        name for name, value in model.named_parameters() if not torch.equal(value, dict(twin.named_parameters())[name])
    }
    assert other == {"layer.0.weight", "layer.1.weight"}


def test_an_average_is_the_models_inside_alone(model: TwoLayers) -> None:
    config = recipe(ema=0.3, warmup_steps=0)
    optimiser = Optimiser(model, config)
    average = {name: value.detach().clone() for name, value in model.named_parameters()}
    for step in range(5):
        gradients(model, step)
        optimiser.update(step, 10)
        decay = min(0.3, (1 + step) / (10 + step))
        for name, value in model.named_parameters():
            average[name] = decay * average[name] + (1 - decay) * value.detach()
    own = {name: value.detach().clone() for name, value in model.named_parameters()}
    with optimiser.averaged():
        for name, value in model.named_parameters():
            torch.testing.assert_close(value.detach(), average[name])
            assert not torch.equal(value, own[name])
    assert all(torch.equal(value, own[name]) for name, value in model.named_parameters())


@pytest.mark.parametrize("kind", ["adamw", "muon"])
@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_restored_optimiser_goes_on_bit_for_bit(model: TwoLayers, kind: str, ema: float) -> None:
    config = recipe(optimiser=kind, ema=ema)
    optimiser = Optimiser(model, config)
    for step in range(3):
        gradients(model, step)
        optimiser.update(step, 10)
    held = {name: value.clone() for name, value in optimiser.tensors().items()}
    resumed = TwoLayers()
    with optimiser.averaged():
        resumed.load_state_dict(model.state_dict())
    again = Optimiser(resumed, config)
    again.restore(held)
    for step in range(3, 6):
        for one, its in ((model, optimiser), (resumed, again)):
            gradients(one, step)
            its.update(step, 10)
    for one, other in zip(model.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)
    with optimiser.averaged(), again.averaged():
        assert all(torch.equal(*pair) for pair in zip(model.parameters(), resumed.parameters(), strict=True))
