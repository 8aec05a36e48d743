"""Vectors of new sequences in a space: by the space's own recipe and checkpoint, in this process, nothing written.

The vector is the one that `embed` would store: the same recipe, the same weights by their digests, rounded to the
space's dtype. A sequence that the space holds already is not embedded again; its stored vector is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from protea_ray.config.recipe import EmbeddingConfig, embedding_config
from protea_ray.encoder.collect import Embedded
from protea_ray.encoder.in_memory import encoder_here
from protea_ray.errors import CheckpointError, InputError, StoreError
from protea_ray.models.checkpoint import Checkpoint, open_checkpoint
from protea_ray.query import lookup
from protea_ray.query.new_sequences import NewProtein
from protea_ray.query.one_pass import QueryRows
from protea_ray.query.view import View, matrix
from protea_ray.sequences.structure_letters import why_3di
from protea_ray.store.keys import key_array
from protea_ray.store.spaces import differences

if TYPE_CHECKING:
    from protea_ray.encoder.encoder import Encoder

_NAMED = 3  # proteins in a sentence


def vectors_of(
    view: View, proteins: Sequence[NewProtein], pooling: str, model: str | None, device: str,
    tell: Callable[[str], None],
) -> tuple[list[NewProtein], QueryRows, list[str]]:  # fmt: skip
    """The proteins that have a vector, their rows of `pooling`, and a sentence for each that has none.

    `model` is where the space's checkpoint is now, if it was moved. Raises StoreError for an imported space,
    ConfigError and CheckpointError when the recipe cannot be carried out here with the checkpoint that was recorded,
    InputError when no protein has a vector.
    """
    rows = _stored(view, proteins, pooling)
    _say_stored(view, [p for p in proteins if p.key in rows])
    new = {p.key: p.letters for p in proteins if p.key not in rows}
    problems: dict[bytes, str] = {}
    if new:
        tell(f"embedding {len(new):,} sequence(s) with {model or view.info.model}, as space {view.info.name} was")
        encoder = _encoder(view, list(new.values()), pooling, model, device)
        keys = list(new)
        for result in encoder.embed(list(new.values())):
            if isinstance(result, Embedded):
                rows[keys[result.index]] = result.pooled[pooling]
            else:
                problems[keys[result.index]] = f"{result.detail} ({result.reason})"
    said = [f"{p.place or p.name}: {p.name}: {problems[p.key]}" for p in proteins if p.key in problems]
    kept = [p for p in proteins if p.key in rows]
    if not kept:
        raise InputError(said)
    owner = np.repeat(np.arange(len(kept)), [len(rows[p.key]) for p in kept])
    return kept, QueryRows(np.concatenate([rows[p.key] for p in kept]), owner, len(kept)), said


def _stored(view: View, proteins: Sequence[NewProtein], pooling: str) -> dict[bytes, np.ndarray]:
    """The stored rows (chunks, D) of the proteins that the space holds, by key."""
    keys = list(dict.fromkeys(p.key for p in proteins))
    found = view.rows_of(key_array(keys), [pooling])
    values = matrix(found[pooling])
    places: dict[bytes, list[int]] = {}
    for row, key in enumerate(found["key"].to_pylist()):
        places.setdefault(key, []).append(row)
    return {key: values[rows] for key, rows in places.items()}


def _say_stored(view: View, stored: Sequence[NewProtein]) -> None:
    """Log which queries are stored already, under which ids."""
    if not stored:
        return
    records = view.records_by("key", [p.key for p in stored[:_NAMED]], ["id", "key"])
    ids = dict(zip(reversed(records["key"].to_pylist()), reversed(records["id"].to_pylist()), strict=True))
    named = ", ".join(f"{p.name} is {ids.get(p.key, 'a protein that was removed')}" for p in stored[:_NAMED])
    more = ", ..." if len(stored) > _NAMED else ""
    lookup.say([f"{len(stored):,} of the queries are stored already and find themselves: {named}{more}"])


def _encoder(view: View, letters: Sequence[str], pooling: str, model: str | None, device: str) -> Encoder:
    """The space's own encoder, loaded; what cannot be is said before the weights are read."""
    info = view.info
    if info.imported:
        raise StoreError(
            f"the vectors of space {info.name} were imported, so new sequences cannot be embedded as they were. Search "
            "with --nearest ID, in Python with a vector of the same program (store.search), or in another --space"
        )
    checkpoint = recorded_checkpoint(view, model)
    recipe = embedding_config({**info.config, "pooling": [pooling], "outputs": ["embeddings"]}, where=info.name)
    if checkpoint.facts.reads_3di and recipe.alphabet != "3di" and (why := why_3di([s.encode() for s in letters])):
        lookup.say([f"the queries have {why}, and space {info.name} is of amino acids"])
    return encoder_here(checkpoint, on_this_device(recipe, device, info.name), device, compiled="off")


def recorded_checkpoint(view: View, model: str | None) -> Checkpoint:
    """The checkpoint that made the space, from where it was or from `model`; raises CheckpointError for any other."""
    info = view.info
    name, revision = (model, None) if model else (info.model, info.checkpoint.get("revision"))
    try:
        found = open_checkpoint(name, revision, info.config.get("family", "auto"))
    except CheckpointError as error:
        raise CheckpointError(
            f"the checkpoint of space {info.name} cannot be opened: {error} If it was moved, say where it is with "
            "--model (model=... in Python)"
        ) from error
    changed = list(differences(dict(info.checkpoint["files"]), found.files))
    if changed:
        raise CheckpointError(
            f"{name} is not the checkpoint of space {info.name} ({'; '.join(changed)}), so its vectors could not be "
            "compared with those of the space. Say where the recorded one is with --model (model=... in Python), or "
            "choose the space of this one with --space"
        )
    return found


def on_this_device(recipe: EmbeddingConfig, device: str, space: str) -> EmbeddingConfig:
    """The recipe, in float32 where it is of float16 and this process has no GPU: `resolve` refuses float16 on a CPU."""
    import torch

    if recipe.dtype != "float16" or (device != "cpu" and torch.cuda.is_available()):
        return recipe
    lookup.say([f"space {space} was computed in float16 on a GPU; what is computed now is in float32"])
    return recipe.model_copy(update={"dtype": "float32"})
