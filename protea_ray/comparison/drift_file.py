"""What each variant changes, kept beside a checkpoint as variants.json: a run under a variant reads it for its warning.

    {"rows": [{"variant": "nystrom:64", "loss_difference": 0.41, "pooled_cosine": 0.62, "neighbours_kept": 0.35}]}

Numbers are means over all measured proteins: of the masked loss minus that of windows in nats, of the centred cosine of
pooled vectors to exact attention, and of the share of the 10 nearest neighbours that stay. null: not measured, or not
of every protein: nystrom is exact for the short ones, and what it cannot approximate has no loss.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from protea_ray.comparison.compared_variant import WINDOWS
from protea_ray.comparison.measured_variants import MeasuredVariants
from protea_ray.comparison.variant_verdicts import nearness, over_proteins
from protea_ray.errors import ConfigError
from protea_ray.models.checkpoint import Checkpoint
from protea_ray.models.measured_drift import MEASURED


@dataclass(frozen=True)
class MeasuredDrift:
    """What one variant changes; None: not measured."""

    variant: str
    loss_difference: float | None
    pooled_cosine: float | None
    neighbours_kept: float | None


def measured_drift(found: MeasuredVariants) -> list[MeasuredDrift]:
    """One row for each variant that has a masked loss or pooled vectors to compare, in the order of the rows."""
    rows: list[MeasuredDrift] = []
    everywhere = sum(row.proteins for row in found.loss if row.variant == WINDOWS)
    for name in found.names:
        own = [row for row in found.loss if row.variant == name and row.difference_se is not None]
        loss = over_proteins(own) if sum(row.proteins for row in own) == everywhere else None
        near = nearness(found.pooled, name)
        if loss or near:
            rows.append(MeasuredDrift(name, loss.nats if loss else None, near.cosine if near else None,
                                      near.neighbours if near else None))  # fmt: skip
    return rows


def drift_json(found: MeasuredVariants) -> dict[str, Any]:
    """The content of variants.json."""
    return {"rows": [asdict(row) for row in measured_drift(found)]}


def drift_directory(checkpoint: Checkpoint) -> Path:
    """Where a run looks for the file: beside the adapter if there is one, else beside the weights.

    Raises ConfigError where nothing can be written there, which is found out before anything is measured.
    """
    directory = checkpoint.adapter.directory if checkpoint.adapter else checkpoint.path
    if not os.access(directory, os.W_OK):
        problem = f"{directory} cannot be written to; copy {MEASURED} out of the comparison's folder yourself"
        raise ConfigError(problem, where="--beside-model")
    return directory


def write_measured_drift(directory: Path, found: MeasuredVariants) -> Path:
    """Write variants.json into a checkpoint's directory, in place of an earlier one; raises ConfigError."""
    path = directory / MEASURED
    try:
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(drift_json(found), indent=1) + "\n", encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}", where="--beside-model") from error
    return path
