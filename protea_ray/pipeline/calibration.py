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
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import ray

from protea_ray.cluster.progress import Reporter
from protea_ray.config.cache import cache_directory
from protea_ray.config.identity import canonical_json, identity
from protea_ray.config.libraries import OF_CALIBRATION, version_or_none
from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.encoder.budget import time_packs
from protea_ray.encoder.canary import check_canaries
from protea_ray.models.checkpoint import Checkpoint
from protea_ray.models.families import Shape
from protea_ray.pipeline.pool import remote
from protea_ray.pipeline.worker import EncoderSpec
from protea_ray.plan.cost import Cost, keys_seen, transformer_cost

HALF = (
    "this processor computes in bfloat16: --dtype bfloat16 makes another space, within 0.02 of this one, "
    "1.3 to 1.8 times as fast (docs/performance.md)"
)


@dataclass(frozen=True)
class Calibration:
    """What one encoder does on this machine.

    `cost`: seconds of a protein by its length. `load_seconds`, `first_forward_seconds`: of the first load and the first
    forward pass, compilation included. `token_budget`: tokens of a pack that was run without running out of memory.
    `half`: the processor has products of bfloat16 matrices.
    """

    cost: Cost
    load_seconds: float
    first_forward_seconds: float
    device: str
    attention: str
    layers: str
    token_budget: int
    half: bool
    remembered: bool = False  # read from this machine's cache: no figure is of the present run

    @property
    def measured_first_forward(self) -> float | None:
        """Seconds of the first forward pass, rounded; None where no pass was timed in this run."""
        return None if self.remembered else round(self.first_forward_seconds, 3)

    def lines(self, recipe: EmbeddingConfig) -> list[str]:
        """What a person is told before a run under `recipe`."""
        told = [f"{self.device}, {self.attention}, {self.layers}, packs of {self.token_budget:,} tokens"]
        if not self.remembered:
            told.append(f"model loaded in {self.load_seconds:.1f} s, first pass in {self.first_forward_seconds:.1f} s")
        return [*told, HALF] if self.half and recipe.dtype == "float32" and not recipe.quantization else told


def calibrate(
    spec: EncoderSpec, checkpoint: Checkpoint, recipes: Sequence[EmbeddingConfig], gpus: float, report: Reporter
) -> Calibration:
    """Load the encoder where the actors will run, embed the canaries and time packs of two lengths; or remember it.

    Raises CheckpointError when a canary is not finite, or does not depend on its letters.
    """
    place = _place(spec, checkpoint, recipes)
    if (remembered := _remembered(place)) is not None:
        return remembered
    report.phase(f"seeing how fast {checkpoint.model} is on this {spec.device}")
    task = remote(_measure, num_cpus=0 if gpus else 1, num_gpus=gpus, max_retries=1)
    measured: Any = ray.get(task.remote(spec, recipes, operations(checkpoint.shape, recipes[0])))
    _write(place, measured)
    return measured


def remember(
    spec: EncoderSpec, checkpoint: Checkpoint, recipes: Sequence[EmbeddingConfig], calibration: Calibration
) -> None:
    """Replace the remembered calibration: a run found that its token budget was too large."""
    _write(_place(spec, checkpoint, recipes), calibration)


def _measure(spec: EncoderSpec, recipes: Sequence[EmbeddingConfig], shape: Cost) -> Calibration:
    started = time.perf_counter()
    encoder = spec.load(recipes)
    loaded = time.perf_counter()
    alphabet = recipes[0].alphabet or "aa"
    check_canaries(encoder, alphabet)
    warm = time.perf_counter()
    timings = time_packs(encoder, recipes[0].max_residues, alphabet=alphabet)
    return Calibration(
        cost=shape.fitted([(t.residues, t.seconds) for t in timings]),
        load_seconds=loaded - started,
        first_forward_seconds=warm - loaded,
        device=spec.device_name,
        attention=f"{encoder.attention.name} attention ({encoder.attention.why})",
        layers=f"{encoder.layers.name} layers ({encoder.layers.why}), products by {encoder.products.name} "
        f"({encoder.products.why})",
        token_budget=encoder.token_budget,
        half=spec.device == "cpu" and _computes_in_bfloat16(),
    )


def _computes_in_bfloat16() -> bool:
    """Whether the processor has products of bfloat16 matrices; elsewhere they are emulated, and slow."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False  # no Linux: no advice
    flags = {word for line in lines if line.startswith(("flags", "Features")) for word in line.split()}
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


def operations(shape: Shape, recipe: EmbeddingConfig) -> Cost:
    """Cost of one protein in operations, from the model's shape and the recipe's length rule."""
    width = shape.heads * shape.head_dim
    cost = transformer_cost(shape.layers, shape.hidden, width, shape.ffn, 3 if shape.gated else 2)
    truncates = recipe.on_long != "window"
    keys = keys_seen(recipe.variant, shape.head_dim)
    overlap = recipe.window_overlap
    return replace(cost, max_residues=recipe.max_residues, overlap=overlap, truncates=truncates, keys=keys)


def _place(spec: EncoderSpec, checkpoint: Checkpoint, recipes: Sequence[EmbeddingConfig]) -> Path:
    return cache_directory() / "calibrations" / f"{_key(spec, checkpoint, recipes)}.json"


def _key(spec: EncoderSpec, checkpoint: Checkpoint, recipes: Sequence[EmbeddingConfig]) -> str:
    """Hash of everything that could change a calibration."""
    facts = {
        "encoder": f"{type(spec).__module__}.{type(spec).__qualname__}",
        "recipes": [identity(recipe, checkpoint.files) for recipe in recipes],
        "device": [spec.device, platform.node(), *sorted(ray.cluster_resources())],
        "asked": [spec.token_budget, spec.kernel, spec.compile, spec.products],
        "versions": [version_or_none(name) for name in OF_CALIBRATION],
    }
    return hashlib.sha256(canonical_json(facts).encode()).hexdigest()[:32]


def _remembered(place: Path) -> Calibration | None:
    try:
        fields = json.loads(place.read_text(encoding="utf-8"))
        return Calibration(**{**fields, "cost": Cost(**fields["cost"]), "remembered": True})
    except (OSError, ValueError, TypeError, KeyError):
        return None  # absent, or of another version of this class: measure again


def _write(place: Path, calibration: Calibration) -> None:
    """Write beside and rename, so that a reader never sees half a file; where nothing can be written, do nothing.

    A calibration that is not remembered is measured again.
    """
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=place.parent, suffix=".tmp")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(asdict(calibration), file)
        Path(name).replace(place)
