"""What `maps` may be asked for, checked before torch is imported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from protea_ray.config.paths import unwritable
from protea_ray.errors import ConfigError, did_you_mean

MAP_OUTPUTS = ("attention", "contacts")


def require_map_options(out: Path, outputs: Sequence[str]) -> None:
    """Raise ConfigError for outputs that are none, and for a file that is no npz or cannot be written."""
    problems = [
        f"outputs: {name!r} is not {' or '.join(MAP_OUTPUTS)}{did_you_mean(name, MAP_OUTPUTS)}"
        for name in outputs
        if name not in MAP_OUTPUTS
    ]
    problems += [] if outputs else [f"outputs: none given; choose from {', '.join(MAP_OUTPUTS)}"]
    problems += [] if out.suffix == ".npz" else [f"{out}: the ending must be .npz"]
    problems += unwritable(out)
    if problems:
        raise ConfigError(problems, where="maps")
