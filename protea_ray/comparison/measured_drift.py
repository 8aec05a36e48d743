"""What each variant changes, kept beside a checkpoint as variants.json: a run under a variant reads it for its warning.

    {"rows": [{"variant": "nystrom:64", "loss_difference": 0.41, "pooled_cosine": 0.62, "neighbours_kept": 0.35}]}

Numbers are means over all measured proteins: of the masked loss minus that of windows in nats, of the centred cosine of
pooled vectors to exact attention, and of the share of the 10 nearest neighbours that stay. null: not measured.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from protea_ray.comparison.measured_variants import MeasuredVariants
from protea_ray.comparison.verdicts import nearness, over_proteins
from protea_ray.errors import ConfigError

FILE = "variants.json"


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
    for name in found.names:
        loss = over_proteins(row for row in found.loss if row.variant == name and row.difference_se is not None)
        near = nearness(found.pooled, name)
        if loss or near:
            rows.append(MeasuredDrift(name, loss.nats if loss else None, near.cosine if near else None,
                                      near.neighbours if near else None))  # fmt: skip
    return rows


def drift_json(found: MeasuredVariants) -> dict[str, Any]:
    """The content of variants.json."""
    return {"rows": [asdict(row) for row in measured_drift(found)]}


def write_measured_drift(directory: Path, found: MeasuredVariants) -> Path:
    """Write variants.json into a checkpoint's directory; raises ConfigError where that cannot be written to."""
    path = directory / FILE
    try:
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(drift_json(found), indent=1) + "\n", encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}", where="measured drift") from error
    return path
