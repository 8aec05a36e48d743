"""The space of each recipe of a run: the table that holds the same vectors already, or a new one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from protea_ray.config.identity import identity, space_name
from protea_ray.config.libraries import OF_EMBEDDING, versions
from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.models.checkpoint import Checkpoint, logit_tokens
from protea_ray.models.weights import verify_digests
from protea_ray.pipeline.worker import Target
from protea_ray.store.location import Location
from protea_ray.store.rows import space_schema
from protea_ray.store.spaces import SpaceInfo, ensure_space, list_spaces, same_space


def make_targets(
    location: Location, checkpoint: Checkpoint, recipes: Sequence[EmbeddingConfig], run: str
) -> list[Target]:
    """Open or create the table of every recipe.

    Raises StoreError for a table that holds something else, and CheckpointError when a commit of a hub id does not
    have the weights that an earlier run recorded for it.
    """
    _require_recorded_weights(location, checkpoint)
    names = space_names(location, checkpoint, recipes)
    return [_target(location, checkpoint, recipe, run, name) for recipe, name in zip(recipes, names, strict=True)]


def space_names(location: Location, checkpoint: Checkpoint, recipes: Sequence[EmbeddingConfig]) -> list[str]:
    """The space of each recipe: the store's own if it has one of the same weights and recipe, else a new name."""
    spaces = list_spaces(location)
    return [
        same_space(location, spaces, identity(recipe, checkpoint.files), space_name(recipe, checkpoint.files))
        for recipe in recipes
    ]


def _require_recorded_weights(location: Location, checkpoint: Checkpoint) -> None:
    """One commit has one set of weights: another digest under it is a damaged download, not a new model."""
    for space in list_spaces(location):
        known = space.checkpoint
        if checkpoint.revision and (known["model"], known["revision"]) == (checkpoint.model, checkpoint.revision):
            verify_digests(checkpoint.path, known["files"])


def _target(location: Location, checkpoint: Checkpoint, recipe: EmbeddingConfig, run: str, name: str) -> Target:
    hidden = checkpoint.shape.hidden
    made_by = {"model": checkpoint.model, "revision": checkpoint.revision, "files": checkpoint.files}
    made_by |= {"layers": checkpoint.shape.layers, "heads": checkpoint.shape.heads}
    made_by |= {"attention": checkpoint.facts.attention, "trained_length": checkpoint.facts.trained_length}
    info = SpaceInfo(
        name=name,
        identity=identity(recipe, checkpoint.files),
        config=recipe.model_dump(mode="json"),
        checkpoint=made_by,
        versions=versions(OF_EMBEDDING),
        run=run,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        hidden=hidden,
        trained=checkpoint.trained,
        imported=False,
    )
    residue_width = recipe.width(hidden) if recipe.keeps_residues else None
    tokens = logit_tokens(checkpoint) if recipe.keeps_logits else None
    schema = space_schema(recipe.widths(hidden), recipe.store_dtype, residue_width, {}, tokens)
    ensure_space(location, info, schema)
    return Target(info.name, location.table(info.name), schema, recipe)
