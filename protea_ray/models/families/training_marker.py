"""What a training run of this package wrote into config.json: the longest stretch it saw, and how its layers attended.

The marker `protea_ray` is `{"trained", "trained_residues", "attention", "parent", "plan"}`; a published model has none.
It decides defaults of a recipe, so one that cannot be read is an error and never a default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from protea_ray.config.attention_forms import known_attention
from protea_ray.errors import CheckpointError

KEY = "protea_ray"
_MARKER = f"the marker of its training, {KEY} in config.json,"
_WAY_OUT = "Copy the file again as it was written; without the marker the published rules hold"


def trained_residues(config: Mapping[str, Any]) -> int | None:
    """Residues of the longest crop that this package trained the model on; None where it has not.

    Raises CheckpointError for a marker that is damaged.
    """
    length = _marker(config).get("trained_residues")
    if length is not None and (type(length) is not int or length < 0):
        raise CheckpointError(f"{_MARKER} says trained_residues {length!r}, not a whole number. {_WAY_OUT}")
    return length or None


def trained_attention(config: Mapping[str, Any]) -> str:
    """The attention that this package trained the model with, exact where it has not; raises CheckpointError."""
    attention = _marker(config).get("attention", "exact")
    try:
        return known_attention(str(attention))
    except ValueError as error:
        raise CheckpointError(f"{_MARKER} says an attention that cannot be: {error}. {_WAY_OUT}") from None


def _marker(config: Mapping[str, Any]) -> Mapping[str, Any]:
    found = config.get(KEY, {})
    if not isinstance(found, dict):
        raise CheckpointError(f"{_MARKER} is {found!r}, not a JSON object. {_WAY_OUT}")
    return cast("dict[str, Any]", found)
