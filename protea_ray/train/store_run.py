"""A training run on the proteins of a store, from the first look at OUT to the model card.

What can be wrong is found in the order of its cost: recipe against the plan in OUT, model or shape, the store's
version, the split, and only then a cluster. The proteins are those of the version in the plan, so that a store which
grows does not change a run that goes on.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from protea_ray.config.training import TrainingConfig, TrainingOptions
from protea_ray.errors import ConfigError
from protea_ray.train.card import command_line
from protea_ray.train.lines import TrainingLines
from protea_ray.train.own_attention import settled
from protea_ray.train.plan_file import PLAN, TrainingPlan
from protea_ray.train.prediction import shape_of
from protea_ray.train.proteins import Proteins, from_store
from protea_ray.train.results import attribution_text, write_results
from protea_ray.train.train_here import TrainingSummary, train_here


def train_on_store(
    store: str,
    out: str,
    config: TrainingConfig,
    options: TrainingOptions,
    report: TrainingLines,
    attribution: str | None = None,
) -> TrainingSummary:
    """Train on the proteins of `store` in the directory `out`, or go on there; writes curve and card at the end.

    Raises ConfigError, CheckpointError and StoreError before anything is written, TrainingError for a loss that is not
    a number.
    """
    place, credit = Path(out).expanduser().absolute(), attribution_text(attribution)
    asked, config = config, settled(config, place)
    held = held_plan(place)
    require_same_recipe(config, held, place)
    shape_of(config)
    if asked.attention is None and config.attention != "exact":
        report.note(f"attention {config.attention}, as {config.model} was trained; --attention says another")
    report.phase(f"reading the proteins of {store}")
    proteins = from_store(store, held["data"]["version"] if held else None)
    report.note(
        f"{len(proteins):,} proteins, {proteins.lengths.sum():,} residues at version {proteins.pin['version']}; "
        "which of them share words is looked up, or found out"
    )
    report.phase("keeping proteins that share words on one side of the split")
    proteins = split(proteins, config, options)
    weights = f"opening {config.model}" if config.model else f"making fresh weights of shape {config.shape}"
    report.phase(weights if options.workers == 0 else f"starting the workers, {weights}")
    if options.workers == 0:
        done = train_here(config, options, proteins, place, report=report)
    else:
        from protea_ray.train.ray_workers import train_on_workers  # imports Ray's part

        done = train_on_workers(config, options, proteins, place, report)
    report.phase("writing the curve and the model card")
    for note in write_results(place, command_line(store, out, asked), credit):
        report.note(note)
    return done


def held_plan(out: Path) -> dict[str, Any] | None:
    """plan.json of an earlier start in `out`, None without one; raises ConfigError when it cannot be read."""
    path = out / PLAN
    if not path.exists():
        return None
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        TrainingPlan(**{name: held[name] for name in ("config", "data", "split", "parent")})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is not a plan ({error}); name another place", where="training") from None
    return held


def require_same_recipe(config: TrainingConfig, held: dict[str, Any] | None, out: Path) -> None:
    """Raise ConfigError that lists the fields which an earlier start in `out` had otherwise.

    Proteins and weights are compared when they have been read; a recipe needs neither.
    """
    if held is not None:
        TrainingPlan(config, held["data"], held["split"], held["parent"]).settle(out)


def split(proteins: Proteins, config: TrainingConfig, options: TrainingOptions) -> Proteins:
    """The proteins with their validation side: by Ray and kept with the store, or in this process without Ray."""
    if options.workers == 0:
        from protea_ray.train.clusters import split_here

        return split_here(proteins, config.validation_share, config.seed)
    from protea_ray.train.stored_split import split_stored

    return split_stored(proteins, config.validation_share, config.seed)
