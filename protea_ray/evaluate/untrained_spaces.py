"""The untrained control of a space: vectors of the same shape and recipe, from weights that were never trained.

It is a space of the store like any other. What the store lacks of it is embedded before the probes
(`untrained_embedding`): all recipes of one checkpoint in one pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from protea_ray.cluster.progress import Reporter
from protea_ray.config.identity import canonical_json
from protea_ray.config.known_models import TWIN
from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.config.run import RunConfig, RunOptions
from protea_ray.models.checkpoint import Checkpoint, open_checkpoint
from protea_ray.store.location import PROTEINS_TABLE, Location
from protea_ray.store.spaces import SpaceInfo
from protea_ray.store.tables import count_rows

WAY_OUT = "--controls random,composition does without"
_OF_THE_CHECKPOINT = ("model", "revision")
_OF_ONE_PASS = (
    "model", "family", "dtype", "attention", "rope", "quantization", "max_residues", "on_long", "window_overlap",
    "stitch", "alphabet",
)  # fmt: skip


@dataclass(frozen=True)
class WantedTwin:
    """A subject, and the recipe of the untrained space that is its control."""

    subject: SpaceInfo
    recipe: EmbeddingConfig


@dataclass(frozen=True)
class MissingTwins:
    """Recipes of one untrained checkpoint that share a pass; `subjects` are the spaces that they are controls of."""

    checkpoint: Checkpoint
    recipes: tuple[EmbeddingConfig, ...]
    subjects: tuple[str, ...]

    def sentence(self, location: Location) -> str:
        """What is embedded, and how to do without."""
        proteins = count_rows(location.table(PROTEINS_TABLE))
        return (
            f"the untrained control of {', '.join(self.subjects)} is not whole in the store: what it lacks of "
            f"{proteins:,} proteins is embedded first, with {self.checkpoint.model}; {WAY_OUT}"
        )


def _recipe(info: SpaceInfo) -> dict[str, Any]:
    """The fields of a space's recipe without its checkpoint's name."""
    known = [name for name in EmbeddingConfig.model_fields if name not in _OF_THE_CHECKPOINT]
    return {name: info.config.get(name) for name in known if name in info.config}


def wanted_twin(subject: SpaceInfo, held: SpaceInfo | None) -> WantedTwin:
    """The recipe of a subject with its model's untrained twin in place of the model, or that of a twin in the store."""
    model = TWIN + subject.model if held is None else held.model
    return WantedTwin(subject, EmbeddingConfig.model_validate(_recipe(subject) | {"model": model}))


def in_one_pass(wanted: Iterable[WantedTwin]) -> list[list[WantedTwin]]:
    """Those that come from one pass of one checkpoint, together."""
    passes: dict[str, list[WantedTwin]] = {}
    for one in wanted:
        shared = {name: getattr(one.recipe, name) for name in _OF_ONE_PASS}
        passes.setdefault(canonical_json(shared), []).append(one)
    return list(passes.values())


def missing_twins(wanted: Sequence[WantedTwin], options: RunOptions, report: Reporter) -> MissingTwins:
    """What has to be embedded for the controls of one pass.

    Raises CheckpointError for a twin that cannot be made here, ConfigError for a recipe that this device cannot do.
    """
    recipes: list[EmbeddingConfig] = []
    for one in wanted:
        if one.recipe not in recipes:
            recipes.append(one.recipe)
    report.phase(f"opening the checkpoint {recipes[0].model}")
    checkpoint = open_checkpoint(recipes[0].model, None, recipes[0].family)
    from protea_ray.pipeline.embed import require_fitting  # imports Ray

    require_fitting(RunConfig(recipes=tuple(recipes), run=options), checkpoint)
    return MissingTwins(checkpoint, tuple(recipes), tuple(dict.fromkeys(one.subject.name for one in wanted)))
