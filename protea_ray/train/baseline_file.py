"""baselines.json of a run: what predictors reach that need no model, computed once and shown beside every loss."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from protea_ray.train.baselines import baselines
from protea_ray.train.model_files import write_json
from protea_ray.train.training_set import TrainingSet

BASELINES = "baselines.json"


def settle_baselines(out: Path, data: TrainingSet, report: Callable[[Mapping[str, Any]], None]) -> None:
    """Report the baselines of a run, from its file or else computed and kept there: 2 s for 10 million residues.

    The file belongs to the plan beside it, which names proteins and split.
    """
    held = read_baselines(out)
    if held is None:
        held = {
            found.name: {"nats": found.nats, "standard_error": found.error if math.isfinite(found.error) else None}
            for found in baselines(data.proteins, data.masker, data.lookup)
        }
        write_json(out / BASELINES, held)
    report({"kind": "baselines", "nats": {name: row["nats"] for name, row in held.items()}})


def read_baselines(out: Path) -> dict[str, dict[str, Any]] | None:
    """The baselines by name, each with `nats` and `standard_error` over proteins; None before they were computed."""
    path = out / BASELINES
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
