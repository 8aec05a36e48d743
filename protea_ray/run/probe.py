"""One short look at the encoder before a run: does it work, and how fast is it here.

What was seen is remembered on this machine by weights, recipe, device and library versions: loading a model only to
look at it costs 4 s, a third of a small run.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import ray

from protea_ray.config.embedding import EmbeddingConfig
from protea_ray.config.identity import canonical_json, identity
from protea_ray.embed.canary import check_canaries
from protea_ray.embed.checkpoint import Checkpoint
from protea_ray.embed.families import Shape
from protea_ray.embed.untrained import cache_directory
from protea_ray.plan.cost import Cost, transformer_cost
from protea_ray.run.cluster import remote
from protea_ray.run.worker import EncoderSpec

PROBE_RESIDUES = 300  # near the median of real proteins
PROBE_PROTEINS = 3  # about one CPU micro-batch
VERSIONS = ("protea-ray", "torch", "transformers")
_LETTERS = np.frombuffer(b"LAGVESIKRDTPNQFYMHCW", dtype=np.uint8)


@dataclass(frozen=True)
class Probe:
    """What was seen. `cost` is in seconds by length; the other times are of the first load and the first pass."""

    cost: Cost
    load_seconds: float
    first_forward_seconds: float
    device: str
    attention: str


def probe(spec: EncoderSpec, checkpoint: Checkpoint, recipes: Sequence[EmbeddingConfig], gpus: float) -> Probe:
    """Load the encoder where the actors will run, embed the canaries and time one micro-batch; or remember it.

    Raises CheckpointError when a canary is not finite, or does not depend on its letters.
    """
    place = cache_directory() / "probes" / f"{_key(spec, checkpoint, recipes)}.json"
    if (seen := _remembered(place)) is not None:
        return seen
    task = remote(_probe, num_cpus=0 if gpus else 1, num_gpus=gpus, max_retries=1)
    found: Any = ray.get(task.remote(spec, recipes, operations(checkpoint.shape, recipes[0])))
    _remember(place, found)
    return found


def _probe(spec: EncoderSpec, recipes: Sequence[EmbeddingConfig], shape: Cost) -> Probe:
    started = time.perf_counter()
    encoder = spec.load(recipes)
    loaded = time.perf_counter()
    check_canaries(encoder)
    warm = time.perf_counter()
    sequences = probe_sequences()
    for _ in encoder.embed(sequences):
        pass
    seconds = time.perf_counter() - warm
    return Probe(
        cost=shape.timed(seconds, np.array([len(s) for s in sequences])),
        load_seconds=loaded - started,
        first_forward_seconds=warm - loaded,
        device=spec.device_name,
        attention=f"{encoder.attention.name} attention ({encoder.attention.why})",
    )


def probe_sequences() -> list[str]:
    """Random proteins of one length, the same every time."""
    letters = np.random.default_rng(0).choice(_LETTERS, (PROBE_PROTEINS, PROBE_RESIDUES))
    return [row.tobytes().decode("ascii") for row in letters]


def operations(shape: Shape, recipe: EmbeddingConfig) -> Cost:
    """Cost of one protein in operations, from the model's shape and the recipe's length rule."""
    width = shape.heads * shape.head_dim
    cost = transformer_cost(shape.layers, shape.hidden, width, shape.ffn, 3 if shape.gated else 2)
    truncates = recipe.on_long != "window"
    return replace(cost, max_residues=recipe.max_residues, overlap=recipe.window_overlap, truncates=truncates)


def _key(spec: EncoderSpec, checkpoint: Checkpoint, recipes: Sequence[EmbeddingConfig]) -> str:
    """Everything that could change what a probe sees."""
    facts = {
        "recipes": [identity(recipe, checkpoint.files) for recipe in recipes],
        "device": [spec.device, spec.token_budget, platform.node(), *sorted(ray.cluster_resources())],
        "versions": [version(name) for name in VERSIONS],
    }
    return hashlib.sha256(canonical_json(facts).encode()).hexdigest()[:32]


def _remembered(place: Path) -> Probe | None:
    try:
        fields = json.loads(place.read_text(encoding="utf-8"))
        return Probe(**{**fields, "cost": Cost(**fields["cost"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None  # not there, or of no use: look again


def _remember(place: Path, seen: Probe) -> None:
    """Write beside and rename, so that a reader never sees half a file."""
    place.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=place.parent, suffix=".tmp")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(asdict(seen), file)
    Path(name).replace(place)
