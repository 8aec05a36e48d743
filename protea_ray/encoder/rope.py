"""Rotary positions stretched past the trained length: `rope` of a recipe, linear:S, ntk:S or yarn:S.

Rotary positions (Su et al. 2021) turn pair k of the d numbers of a query or key by theta_k radians a token,
theta_k = base^(-2k / d). Full attention over more tokens than training had meets angles of the slow pairs that were
never seen. A stretch turns them more slowly, for proteins of every length, short ones too:

| rope | pair k turns by | source |
|---|---|---|
| linear:S | theta_k / S | positional interpolation, Chen et al. 2023 |
| ntk:S | theta_k S^(-2k / (d - 2)): a base S^(d / (d - 2)) times larger | "NTK-aware", bloc97 2023 |
| yarn:S | theta_k where it makes 32 turns in the trained length, theta_k / S below one | YaRN, Peng et al. 2023 |

YaRN also multiplies cos and sin by 0.1 ln S + 1, so each score by its square. Between the two it has
a ramp, here over the number of the pair and from bounds that are rounded outwards, as in its authors' code; the paper
writes it over the number of turns.

Nothing here is trained, so each stretch is another function than the model that was: another space.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from protea_ray.config.attention_forms import RopeScaling
from protea_ray.errors import EncoderError

FAST, SLOW = 32, 1  # turns in the trained length: a pair above the one stays, below the other is slowed by S


def scale_rotary(module: nn.Module, scaling: RopeScaling, trained_tokens: int | None) -> None:
    """Stretch every rotary embedding of a loaded `module`, in place.

    `trained_tokens` is the longest crop of its training, special tokens included; None where that is not known.
    Raises EncoderError for a module without rotary positions, with a single pair, or without a trained length.
    """
    if scaling.kind == "none":
        return
    parts: list[Any] = [part for part in module.modules() if hasattr(part, "inv_freq")]
    if not parts or trained_tokens is None:
        lacks = "trained length" if parts else "rotary positions"
        raise EncoderError(f"rope {scaling}: {type(module).__name__} has no {lacks}; use rope none")
    for rotary in parts:
        rotary.inv_freq = stretched(rotary.inv_freq, scaling, trained_tokens)
        rotary.attention_scaling *= temperature(scaling)


def stretched(frequencies: Tensor, scaling: RopeScaling, trained_tokens: int) -> Tensor:
    """Radians a token of each pair after a stretch, (d / 2,) float32, from those before it, fastest first.

    Computed in float64 and rounded once. Raises EncoderError for fewer than two pairs.
    """
    if len(frequencies) < 2:
        raise EncoderError(f"rope {scaling} needs heads of at least 4 numbers, two pairs; use rope none")
    exact, factor = frequencies.double(), scaling.factor
    if scaling.kind == "none":
        kept = torch.ones_like(exact)
    elif scaling.kind == "linear":
        kept = torch.full_like(exact, 1 / factor)
    elif scaling.kind == "ntk":
        kept = factor ** -torch.linspace(0, 1, len(exact), dtype=torch.float64, device=exact.device)
    else:
        slowed = _ramp(exact, trained_tokens)
        kept = 1 - slowed + slowed / factor
    return (exact * kept).float()


def temperature(scaling: RopeScaling) -> float:
    """What cos and sin are multiplied by: 0.1 ln S + 1 for yarn, else 1."""
    return 0.1 * math.log(scaling.factor) + 1 if scaling.kind == "yarn" else 1.0


def _ramp(frequencies: Tensor, trained_tokens: int) -> Tensor:
    """Share of YaRN's slowing that each pair gets, (d / 2,) float64: 0 for fast pairs, 1 for slow ones."""
    pairs = len(frequencies)
    first, last = (_pair_with(turns, frequencies, trained_tokens) for turns in (FAST, SLOW))
    low, high = max(math.floor(first), 0), min(math.ceil(last), 2 * pairs - 1)
    number = torch.arange(pairs, dtype=torch.float64, device=frequencies.device)
    return ((number - low) / max(high - low, 0.001)).clamp(0, 1)


def _pair_with(turns: float, frequencies: Tensor, trained_tokens: int) -> float:
    """Where between the pairs one would lie that makes `turns` turns in the trained length; pairs are a power apart."""
    apart = math.log(float(frequencies[0] / frequencies[1]))
    return math.log(trained_tokens / (2 * math.pi * turns)) / apart
