"""One short look at the encoder before a run: does it work, and how fast is it here."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import ray

from protea_ray.config.embedding import EmbeddingConfig
from protea_ray.embed.canary import check_canaries
from protea_ray.embed.families import Shape
from protea_ray.plan.cost import Cost, transformer_cost
from protea_ray.run.cluster import remote
from protea_ray.run.worker import EncoderSpec

PROBE_RESIDUES = 300  # near the median of real proteins
PROBE_PROTEINS = 3  # about one CPU micro-batch
_LETTERS = np.frombuffer(b"LAGVESIKRDTPNQFYMHCW", dtype=np.uint8)


@dataclass(frozen=True)
class Probe:
    """What was seen: cost in seconds by length, and where it was measured."""

    cost: Cost
    load_seconds: float
    first_forward_seconds: float
    device: str
    attention: str
    torch: str
    transformers: str


def probe(spec: EncoderSpec, recipes: Sequence[EmbeddingConfig], shape: Cost, gpus: float) -> Probe:
    """Load the encoder where the actors will run, embed the canaries, time one micro-batch.

    Raises CheckpointError when a canary is not finite. `shape` is the cost in operations; it comes back in seconds.
    """
    task = remote(_probe, num_cpus=0 if gpus else 1, num_gpus=gpus, max_retries=1)
    return ray.get(task.remote(spec, recipes, shape))


def _probe(spec: EncoderSpec, recipes: Sequence[EmbeddingConfig], shape: Cost) -> Probe:
    import torch
    import transformers

    started = time.perf_counter()
    encoder = spec.load(recipes)
    loaded = time.perf_counter()
    check_canaries(encoder)
    warm = time.perf_counter()
    sequences = probe_sequences()
    for _ in encoder.embed(sequences):
        pass
    seconds = time.perf_counter() - warm
    name = torch.cuda.get_device_name() if spec.device == "cuda" else platform.processor() or platform.machine()
    return Probe(
        cost=shape.timed(seconds, np.array([len(s) for s in sequences])),
        load_seconds=loaded - started,
        first_forward_seconds=warm - loaded,
        device=name,
        attention=encoder.attention.name,
        torch=torch.__version__,
        transformers=transformers.__version__,
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
