"""The forecast of a run: parameters and operations against counts made elsewhere, steps against the packs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from protea_ray.config.training import TrainingConfig, training_config
from protea_ray.errors import ConfigError
from protea_ray.models.families.base import Shape
from protea_ray.train.forecast import forecast, layout_of, memory_of, operations_of, parameters_of
from protea_ray.train.pack_feed import StepPlan

SIZES = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 160}
SHAPE = Shape(hidden=64, layers=3, heads=4, head_dim=16, ffn=160, vocabulary=33)


def recipe(**fields: Any) -> TrainingConfig:
    return training_config({"shape": "small", "epochs": 1, **fields})


@pytest.fixture(scope="module")
def reference() -> Any:
    """The same shape as transformers builds it."""
    from transformers import EsmConfig, EsmForMaskedLM

    return EsmForMaskedLM(
        EsmConfig(**SIZES, vocab_size=33, position_embedding_type="rotary", pad_token_id=1, mask_token_id=32,
                  token_dropout=False, attn_implementation="eager")
    )  # fmt: skip


def test_parameters_are_those_of_transformers(reference: Any) -> None:
    counted = {name: p.numel() for name, p in reference.named_parameters()}
    unused = ("contact_head", "position_embeddings.weight")

    assert parameters_of(SHAPE) == sum(n for name, n in counted.items() if not any(word in name for word in unused))


def test_operations_are_those_that_torch_counts(reference: Any) -> None:
    """Every token predicted, so that the reference's head, which runs on all of them, does the same work."""
    torch.set_num_threads(1)
    length = 90
    ids = torch.randint(4, 24, (1, length))
    counter = FlopCounterMode(display=False)
    with counter:
        reference(input_ids=ids).logits.sum().backward()
    ours = operations_of(recipe(mask_rate=1 - 1e-12), SHAPE, np.array([length]))

    # torch leaves out what the first layer's input does not need, and counts the table of rotations: together under 2 %
    assert ours == pytest.approx(counter.get_total_flops(), rel=0.02)


@pytest.mark.parametrize("form", ["global:4", "bigbird:8,3,1,2,0", "favor:8,0"])
def test_an_approximation_costs_tokens_and_no_pairs(form: str) -> None:
    one, two = (operations_of(recipe(attention=form), SHAPE, np.array([length])) for length in (1000, 2000))
    exact = operations_of(recipe(), SHAPE, np.array([2000]))
    assert two == pytest.approx(2 * one)
    assert two < exact
    kept = memory_of(recipe(attention=form, pack_tokens=1000, step_tokens=1000), SHAPE)
    plain = memory_of(recipe(pack_tokens=1000, step_tokens=1000), SHAPE)
    width = SHAPE.heads * SHAPE.head_dim
    of_token = {"global:4": 2 * width * 2, "bigbird:8,3,1,2,0": 2 * width * 7, "favor:8,0": 2 * SHAPE.heads * 8}
    assert kept - plain == 4 * of_token[form] * 1000 * SHAPE.layers


@pytest.mark.parametrize("window", [0, 1, 7, 49, 50, 51, 500])
def test_pairs_of_local_attention_are_counted_exactly(window: int) -> None:
    length, width = 50, SHAPE.heads * SHAPE.head_dim
    place = np.arange(length)
    pairs = int((abs(place[:, None] - place) <= window).sum()) if window else length**2
    attention = f"local:{window}" if window else "exact"
    with_pairs = operations_of(recipe(attention=attention), SHAPE, np.array([length]))
    no_heads = Shape(hidden=64, layers=3, heads=0, head_dim=16, ffn=160, vocabulary=33)
    without = operations_of(recipe(attention=attention), no_heads, np.array([length]))
    projections = 3 * 2 * SHAPE.layers * 4 * SHAPE.hidden * width * length

    assert with_pairs - without == pytest.approx(projections + 3 * 4 * SHAPE.layers * width * pairs)


def test_steps_tokens_and_epochs_are_those_of_the_packs() -> None:
    lengths = np.random.default_rng(0).integers(20, 900, 700)
    validation = np.arange(700) % 10 == 0
    config = recipe(epochs=3, crop=200, pack_tokens=512, step_tokens=2_048)
    found = forecast(config, SHAPE, lengths, validation)
    plan = StepPlan(lengths[~validation], layout_of(config))

    assert (found.proteins, found.validation_proteins) == (630, 70)
    assert found.residues == lengths[~validation].sum()
    assert found.steps_per_epoch == plan.first.steps
    assert (found.steps, found.epochs) == (3 * plan.first.steps, 3.0)
    seen = sum(
        min(lengths[~validation][e], 200) + 2 for s in range(plan.first.steps) for p in plan.first.packs(s) for e in p
    )
    assert found.tokens / 3 == pytest.approx(seen, rel=0.02)
    assert found.seconds(1_000.0) == found.tokens / 1_000


def test_a_length_in_tokens_and_one_in_epochs_agree() -> None:
    lengths = np.full(300, 510)
    by_epochs = forecast(recipe(epochs=2), SHAPE, lengths, np.zeros(300, bool))
    by_tokens = forecast(
        training_config({"shape": "small", "tokens": by_epochs.steps * 15_360}), SHAPE, lengths, np.zeros(300, bool)
    )

    assert by_tokens.steps == by_epochs.steps
    assert by_tokens.operations == by_epochs.operations


def test_proteins_that_do_not_fill_a_step_are_an_error() -> None:
    with pytest.raises(ConfigError, match="lower step_tokens or pack_tokens"):
        forecast(recipe(), SHAPE, np.array([100, 200]), np.zeros(2, bool))


def test_memory_grows_with_what_is_kept() -> None:
    base = memory_of(recipe(), SHAPE)

    assert memory_of(recipe(ema=0.9), SHAPE) - base == 4 * parameters_of(SHAPE)
    assert memory_of(recipe(gradient_checkpointing=True), SHAPE) < base < memory_of(recipe(dtype="float32"), SHAPE)
