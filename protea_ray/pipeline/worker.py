"""The actor that embeds units: forward pass, fragment write, and the handling of proteins that make it fail.

Two calls may run in one actor at a time. The lock lets one of them compute while the other reads its input or writes
its fragment. torch is imported where a model is loaded, so the driver, which loads none, does not import it.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from protea_ray.cluster.ray_metrics import Recorder
from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.encoder.collect import Embedded, Rejected
from protea_ray.errors import EncoderError, ProteaRayError
from protea_ray.models.adapters import Adapter
from protea_ray.models.checkpoint import locate, read_config, with_base
from protea_ray.models.families import recognise
from protea_ray.models.weights import verify_digests
from protea_ray.pipeline.attempts import Attempt, AttemptLog
from protea_ray.pipeline.run_metrics import record_unit
from protea_ray.pipeline.run_record import resident_peak
from protea_ray.sequences.records import Reason
from protea_ray.store.commit import write_fragments
from protea_ray.store.rows import space_rows

if TYPE_CHECKING:
    from protea_ray.encoder.encoder import Encoder

CUDA_IS_GONE = 13  # exit status of an actor whose CUDA context is beyond repair; Ray starts a new one


@dataclass(frozen=True)
class Target:
    """The table of one recipe: its space, URI, schema, and the resolved recipe."""

    space: str
    uri: str
    schema: pa.Schema
    config: EmbeddingConfig


@dataclass(frozen=True)
class EncoderSpec:
    """What an actor needs to load the model; plain values, so that a restarted actor can load it again.

    `directory` is where the driver found the checkpoint on its machine, `host`; `files` are the digests it saw.
    """

    model: str
    revision: str | None
    directory: Path
    host: str
    files: dict[str, str]
    family: str
    device: str
    token_budget: int | None
    kernel: str = "auto"
    compile: str = "auto"
    products: str = "auto"
    adapter: Adapter | None = None

    def load(self, recipes: Sequence[EmbeddingConfig]) -> Encoder:
        """Load weights on this process's device; one thread per CPU actor (two threads in one are 14 % slower).

        Raises CheckpointError when this machine has other weights under the same name than the driver's.
        """
        if self.device == "cpu":
            import torch

            torch.set_num_threads(1)
        from protea_ray.encoder.encoder import Encoder

        directory, adapter = self._local_checkpoint()
        family = recognise(read_config(directory), directory, self.family)
        return Encoder.load(
            directory, family, recipes, device=self.device, token_budget=self.token_budget, kernel=self.kernel,
            compiled=self.compile, products=self.products, adapter=adapter,
        )  # fmt: skip

    @property
    def device_name(self) -> str:
        """Name of this process's device, as the device reports it."""
        if self.device == "cuda":
            import torch

            return torch.cuda.get_device_name()
        return f"{platform.machine()} CPU"

    def _local_checkpoint(self) -> tuple[Path, Adapter | None]:
        """Directory of the checkpoint on this machine and its adapter: the driver's own, else of the same digests."""
        if platform.node() == self.host:
            return self.directory, self.adapter
        named, _ = locate(self.model, self.revision)
        directory, found = with_base(named)
        verify_digests(directory, self.files, found and found.weights)
        adapter = replace(self.adapter, directory=named) if self.adapter else None  # the scale is the driver's
        return directory, adapter


@dataclass(frozen=True)
class Protein:
    """One protein of a unit, and where its record was read."""

    id: str
    key: bytes
    sequence: str
    source: str
    line: int


class EmbedUnits:
    """Embed one unit per call; Ray Data gets one row back: the unit's name and its result as JSON."""

    def __init__(self, spec: EncoderSpec, targets: Sequence[Target], run: str) -> None:
        self._targets = tuple(targets)
        self._run = run
        self._log = AttemptLog(run)
        self._recorder = Recorder(run=run, family=spec.family)
        self._computing = threading.Lock()
        began = time.perf_counter()
        self._encoder = spec.load([t.config for t in targets])
        self._load_seconds = time.perf_counter() - began
        self._idle_since = time.time()

    def __call__(self, table: pa.Table) -> pa.Table:
        results = [self._embed(row) for row in table.to_pylist()]
        for result in results:
            record_unit(self._recorder, result)
        return pa.table({"unit": table["unit"], "result": [json.dumps(result) for result in results]})

    def _embed(self, row: dict[str, Any]) -> dict[str, Any]:
        unit, masks = row["unit"], row["masks"]
        proteins = [Protein(**p) for p in row["proteins"]]
        attempt = self._log.begin(unit)
        with self._computing:
            began, before = time.time(), replace(self._encoder.stats)
            found = self._forward(unit, proteins, attempt)
            seconds, after = time.time() - began, replace(self._encoder.stats)
            waited, self._idle_since = max(began - self._idle_since, 0.0), began + seconds
        found = [r for r in found if masks[r.index] >> r.recipe & 1]
        stored = [r for r in found if isinstance(r, Embedded)]
        fragments = {t.space: self._write(i, t, unit, proteins, stored) for i, t in enumerate(self._targets)}
        self._log.finish(unit)
        return {
            "spaces": fragments,
            "rejects": [self._reject_row(r, proteins, attempt) for r in found if isinstance(r, Rejected)],
            "proteins": len(proteins),
            "residues": residues_embedded(stored),
            "predicted": row["seconds"],
            "began": began,
            "seconds": seconds,
            "waited": waited,
            "attempt": attempt.number,
            "budget": self._encoder.token_budget,
            "load_seconds": self._load_seconds,
            "packs": after.forward_passes - before.forward_passes,
            "tokens": after.tokens - before.tokens,
            "out_of_memory": after.out_of_memory - before.out_of_memory,
            "peak_memory": resident_peak(),
            "peak_gpu_memory": self._encoder.peak_gpu_memory,
        }

    def _forward(self, unit: str, proteins: Sequence[Protein], attempt: Attempt) -> list[Embedded | Rejected]:
        """Embed all proteins in packs; one at a time after two failed attempts, or when a pack raised."""
        if not attempt.careful:
            try:
                return list(self._encoder.embed([p.sequence for p in proteins]))
            except Exception as error:
                leave_if_cuda_is_gone(error)
        return self._one_by_one(unit, proteins, attempt)

    def _one_by_one(self, unit: str, proteins: Sequence[Protein], attempt: Attempt) -> list[Embedded | Rejected]:
        """Embed each protein alone, recorded before it starts, so that a death or an error belongs to one protein.

        Raises EncoderError when every protein of a unit fails: then the encoder is broken, not the proteins.
        """
        found: list[Embedded | Rejected] = []
        errors: list[Exception] = []
        for index, protein in enumerate(proteins):
            if deaths := attempt.culprits.get(protein.key):
                found += self._rejected(index, Reason.KILLS_WORKER, f"the worker died {deaths} times on it alone")
                continue
            self._log.hold(unit, protein.key)
            try:
                alone = self._encoder.embed([protein.sequence])
                found += [_at_index(result, index) for result in alone]
            except Exception as error:
                leave_if_cuda_is_gone(error)
                errors.append(error)
                found += self._rejected(index, Reason.ENCODER_ERROR, f"{type(error).__name__}: {error}"[:500])
        self._log.put_down(unit)  # another unit's death must not count against the last protein of this one
        if errors and len(errors) == len(proteins) > 1:
            raise EncoderError(f"all {len(proteins)} proteins of unit {unit} failed; first: {errors[0]}") from errors[0]
        return found

    def _rejected(self, index: int, reason: str, detail: str) -> list[Embedded | Rejected]:
        """A protein rejected under every recipe."""
        return [Rejected(index, recipe, reason, detail) for recipe in range(len(self._targets))]

    def _write(
        self, recipe: int, target: Target, unit: str, proteins: Sequence[Protein], stored: Sequence[Embedded]
    ) -> dict[str, Any]:
        """Write one space's rows of this unit as an uncommitted fragment."""
        results = [r for r in stored if r.recipe == recipe]
        if not results:
            return {"fragments": [], "stored": 0}
        table = space_rows(
            target.schema,
            keys=[proteins[r.index].key for r in results],
            unit=unit,
            spans=[r.spans for r in results],
            n_residues=[len(proteins[r.index].sequence) for r in results],
            n_residues_seen=[r.n_residues_seen for r in results],
            n_windows=[r.n_windows for r in results],
            truncated=[r.truncated for r in results],
            vectors={name: [r.pooled[name] for r in results] for name in results[0].pooled},
            residues=[m for r in results for m in r.residues or ()] if target.config.keeps_residues else None,
            logits=[m for r in results for m in r.logits or ()] if target.config.keeps_logits else None,
        )
        return {"fragments": write_fragments(target.uri, table, target.schema), "stored": len(results)}

    def _reject_row(self, rejected: Rejected, proteins: Sequence[Protein], attempt: Attempt) -> dict[str, Any]:
        protein = proteins[rejected.index]
        return {
            "id": protein.id,
            "key": protein.key.hex(),
            "source": protein.source,
            "line": protein.line,
            "stage": "embed",
            "reason": rejected.reason,
            "detail": rejected.detail,
            "attempts": attempt.number,
            "run": self._run,
            "space": self._targets[rejected.recipe].space,
        }


def residues_embedded(stored: Sequence[Embedded]) -> int:
    """Count the residues that went through the model and are stored, those of a protein once for all recipes."""
    seen: dict[int, int] = {}
    for result in stored:
        seen[result.index] = max(seen.get(result.index, 0), result.n_residues_seen)
    return sum(seen.values())


def _at_index(result: Embedded | Rejected, index: int) -> Embedded | Rejected:
    """The result of a protein embedded alone, at its position in the unit."""
    return replace(result, index=index)


def leave_if_cuda_is_gone(error: Exception) -> None:
    """End this process after a CUDA error, which breaks its context; Ray restarts the actor, and the attempt counts."""
    if not isinstance(error, ProteaRayError) and "CUDA error" in str(error):
        os._exit(CUDA_IS_GONE)
