"""What a training run would do, as numbers: steps, tokens, operations, memory, seconds.

The packs of the first epoch are laid out as the run would, so its steps are exact for the proteins given; everything
else follows from the shape of the model by arithmetic. Seconds need a rate that was measured or stated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from protea_ray.config.attention_forms import AttentionVariant
from protea_ray.config.training import SPECIALS, TrainingConfig
from protea_ray.models.families.base import Shape
from protea_ray.plan.cost import keys_seen, transformer_cost
from protea_ray.plan.steps import EpochSteps, StepLayout
from protea_ray.train.run_state import steps_of_run

_FLOAT = 4  # bytes of a weight, its gradient and each moment
_BACKWARD = 2  # a backward pass multiplies twice as much as the forward pass before it


@dataclass(frozen=True)
class Forecast:
    """One run before it begins. `proteins` and `residues` are those that train; `tokens` all that the run sees.

    `operations` are floating-point operations, multiplications and additions counted each; `memory_bytes` what one
    worker needs for weights, gradients, optimiser and the states of one pack.
    """

    proteins: int
    residues: int
    validation_proteins: int
    parameters: int
    steps_per_epoch: int
    steps: int
    epochs: float
    tokens: int
    operations: float
    memory_bytes: int

    def seconds(self, tokens_per_second: float) -> float:
        """How long the steps take at a rate of all workers together."""
        return self.tokens / tokens_per_second


def layout_of(config: TrainingConfig) -> StepLayout:
    """The layout of packs and steps that a recipe asks for."""
    return StepLayout(config.crop, config.pack_tokens, config.step_tokens, config.seed)


def forecast(config: TrainingConfig, shape: Shape, lengths: np.ndarray, validation: np.ndarray) -> Forecast:
    """Predict a run on proteins of `lengths` (n,) residues, of which `validation` (n,) bool are kept apart.

    Raises ConfigError when the proteins do not fill one step.
    """
    training = lengths[~validation]
    per_epoch = EpochSteps(training, layout_of(config), epoch=0).steps
    steps = steps_of_run(config, per_epoch)
    each = np.minimum(training, config.crop) + SPECIALS
    full = float(each.sum()) / per_epoch  # tokens of a step: packs are not quite full
    tokens = round(min(full, config.step_tokens) * steps)
    operations = operations_of(config, shape, each) / float(each.sum()) * tokens
    return Forecast(
        proteins=len(training),
        residues=int(training.sum()),
        validation_proteins=int(validation.sum()),
        parameters=parameters_of(shape),
        steps_per_epoch=per_epoch,
        steps=steps,
        epochs=steps / per_epoch,
        tokens=tokens,
        operations=operations,
        memory_bytes=memory_of(config, shape),
    )


def operations_of(config: TrainingConfig, shape: Shape, tokens: np.ndarray) -> float:
    """Operations of one forward and backward pass over proteins of `tokens` (n,) tokens each.

    >>> tiny = Shape(hidden=2, layers=1, heads=1, head_dim=2, ffn=4, vocabulary=33)
    >>> operations_of(TrainingConfig(shape="small", epochs=1, mask_rate=0.5), tiny, np.array([10]))
    6420.0
    """
    cost = transformer_cost(
        shape.layers, shape.hidden, shape.heads * shape.head_dim, shape.ffn, 3 if shape.gated else 2
    )
    pairs = _pairs(tokens, config.variant, shape.head_dim)
    forward = cost.linear * float(tokens.sum()) + cost.quadratic * float(pairs.sum())
    head = 2.0 * shape.hidden * (shape.hidden + shape.vocabulary) * config.mask_rate * float(tokens.sum())
    if config.feature_maps != "none":  # one pass of the exact model; the maps' own products are 1 % of it and less
        return forward
    passes = 1 + _BACKWARD + (1 if config.gradient_checkpointing else 0)
    return passes * forward + (1 + _BACKWARD) * head


def _pairs(tokens: np.ndarray, variant: AttentionVariant, head_dim: int) -> np.ndarray:
    """Pairs of tokens that see each other, or as many as the operations of an approximation are worth."""
    length = tokens.astype(np.float64)
    if not variant.is_masked_exactly:
        return length * np.minimum(length, keys_seen(variant, head_dim) or 0)
    reach = length - 1 if variant.window < 0 else np.minimum(variant.window, length - 1)
    return length * (2 * reach + 1) - reach * (reach + 1)


def parameters_of(shape: Shape) -> int:
    """Weights of an ESM-2 of this shape with its tied head, contact head left out.

    >>> parameters_of(Shape(hidden=320, layers=6, heads=20, head_dim=16, ffn=1280, vocabulary=33))
    7512353
    """
    h, inner, attention = shape.hidden, shape.ffn, shape.heads * shape.head_dim
    one = 4 * h * attention + 3 * attention + h + (3 if shape.gated else 2) * h * inner + inner + h + 4 * h
    head = h * h + h + 2 * h + shape.vocabulary
    return shape.layers * one + shape.vocabulary * h + 2 * h + head


def memory_of(config: TrainingConfig, shape: Shape) -> int:
    """Bytes of one worker: weights, gradients, moments, averages, and what a pack leaves for its backward pass."""
    copies = 4 + (1 if config.ema else 0)
    weights = copies * _FLOAT * parameters_of(shape)
    item = _FLOAT if config.dtype == "float32" else 2
    attention = shape.heads * shape.head_dim
    layer = (6 * shape.hidden + 6 * attention + (3 if shape.gated else 2) * shape.ffn) * item
    layer += _FLOAT * _kept_by(config.variant, shape)
    if config.feature_maps != "none":  # no layer keeps anything; the maps' features of one are held at a time
        features = 16 * attention * _FLOAT
        return _FLOAT * parameters_of(shape) + config.pack_tokens * (layer + features)
    kept = shape.hidden * item * shape.layers + layer if config.gradient_checkpointing else layer * shape.layers
    return weights + config.pack_tokens * kept


def _kept_by(variant: AttentionVariant, shape: Shape) -> int:
    """Numbers a token that a variant's attention keeps for the backward pass: copied keys and values, or features."""
    width = shape.heads * shape.head_dim
    match variant.kind:
        case "global":
            return 2 * width * (1 + -(-2 * variant.window // 512))  # one copy for 512 queries
        case "bigbird":
            _, near, ends, random, _ = variant.numbers
            return 2 * width * (near + 2 * ends + random)
        case "favor":
            return 2 * shape.heads * variant.numbers[0]
        case "hedgehog":
            return 8 * width
        case _:
            return 0
