"""The gate `quantised`: what a space in fewer bits may lose against the space of full precision.

Masked loss: 0.02 nats for 8 bits, 0.05 below. Probes: 0.01 of the headline metric, or one paired standard error where
that is wider. Nobody has published limits for 3 and 2 bits, so those of 4 hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from protea_ray.config.gate_file import GateConfig, MaskedLossConditions, TaskConditions
from protea_ray.errors import ConfigError

QUANTISED = "quantised"  # the word for --gate, in place of a file
EIGHT_BITS = ("int8", "hqq:8")
MOST_NATS = {True: 0.02, False: 0.05}  # by whether the weights have 8 bits
PROBES_BELOW = 0.01
STANDARD_ERRORS = 1.0


def quantised_gate(space: str, recipe: Mapping[str, Any], tasks: Sequence[str], data: str | None) -> GateConfig:
    """The gate for a space of this recipe, with probes on `tasks`, whose named ones are in the folder `data`.

    Raises ConfigError where the recipe is not quantised.
    """
    quantization = recipe.get("quantization")
    if not quantization:
        raise ConfigError(
            f"{QUANTISED} judges a quantised space, and {space} is of full precision; name that one second, or give a "
            "gate file",
            where="--gate",
        )
    most = MOST_NATS[quantization in EIGHT_BITS]
    probes = [
        TaskConditions(task=task, not_below_current_by=PROBES_BELOW, or_standard_errors=STANDARD_ERRORS)
        for task in tasks
    ]
    return GateConfig(data=data, masked_loss=MaskedLossConditions(not_above_current_by=most), tasks=tuple(probes))
