"""Decide whether a filled space may be read by default: everything that `verify` checks, and vectors computed again.

Checksums show that rows are as they were written. They do not show that the checkpoint gives these vectors: a worker
with broken hardware, or weights that were replaced during a run, write rows with good checksums. So a few stored
proteins are embedded again, each alone, in a fresh process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import lance
import numpy as np
import ray

from protea_ray.cluster.progress import Reporter
from protea_ray.encoder.canary import check_canaries
from protea_ray.encoder.collect import Embedded
from protea_ray.errors import CheckpointError, ProteaRayError, StoreError, numbered
from protea_ray.models.weights import verify_digests
from protea_ray.pipeline.embed import Setting
from protea_ray.pipeline.pool import remote
from protea_ray.pipeline.worker import EncoderSpec, Target
from protea_ray.store.findings import LITTER
from protea_ray.store.ledger import FIRST_ROW, scan_proteins
from protea_ray.store.location import Location
from protea_ray.store.rows import RESIDUES, vector_facts
from protea_ray.store.sql import among
from protea_ray.store.tables import open_table
from protea_ray.store.verify import verify

if TYPE_CHECKING:
    from protea_ray.encoder.encoder import Encoder

RECOMPUTED = 16  # proteins embedded again
_LOOKED_AT = 256  # evenly spaced rows, so most units and actors; the shortest of them are embedded
_TOLERANCE = 0.05  # of a vector's length; bfloat16 and another batch move it by 0.007, another model by about 1


@dataclass(frozen=True)
class Acceptance:
    """What was checked in a space, and what is wrong with it."""

    rows: int  # read, with their checksums
    recomputed: int  # proteins embedded again
    largest_distance: float  # of a recomputed vector from the stored one, relative to its length
    missing: int  # proteins with neither vector nor reject
    problems: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values only."""
        return asdict(self)


def verified(
    setting: Setting, target: Target, alias: str, rejected: int, since: int | None, report: Reporter
) -> tuple[Acceptance, str | None]:
    """Verify the space that `alias` is to get, of which a run has `rejected` so many proteins.

    Returns what was seen, and why the alias must stay although nothing is wrong. Raises StoreError for what is wrong.
    """
    report.phase(f"verifying {target.space}")
    accepted = accept(setting, target)
    uri, limit = setting.location.uri, setting.options.max_rejects
    if accepted.problems:
        raise StoreError(_why_not(uri, alias, target.space, accepted.problems))
    if limit is not None and rejected > limit:
        return accepted, f"{rejected} proteins were rejected, more than max_rejects {limit}"
    if accepted.missing and since is not None:
        return accepted, (
            f"{accepted.missing} proteins of version {since} and before are not in {target.space}; "
            "run again without --since to fill them"
        )
    if accepted.missing:
        problem = f"{accepted.missing} proteins have neither vector nor reject"
        raise StoreError(_why_not(uri, alias, target.space, [problem]))
    return accepted, None


def _why_not(uri: str, alias: str, space: str, problems: Sequence[str]) -> str:
    return numbered(f"{space} does not verify, so {alias} stays where it is: {len(problems)} problem(s)", problems) + (
        f"\n`protea-ray repair {uri}` takes damaged units out, `protea-ray drop-space {uri} {space}` all of it; "
        "then run the same command again."
    )


def accept(setting: Setting, target: Target) -> Acceptance:
    """Read all of a space, compare its keys with the proteins, embed the canaries and 16 stored proteins again."""
    report = verify(setting.location, target.space)
    of_space = [f for f in report.findings if f.table == target.space and f.severity != LITTER]
    problems = [str(f) for f in of_space if f.kind != "missing"]
    again = [] if problems else _recompute(setting, target)
    problems += [p for p in again if isinstance(p, str)]
    distances = [d for d in again if not isinstance(d, str)]
    missing = sum(f.count for f in of_space if f.kind == "missing")
    return Acceptance(report.rows[target.space], len(distances), max(distances, default=0.0), missing, tuple(problems))


def _recompute(setting: Setting, target: Target) -> list[float | str]:
    """Distances of the recomputed proteins, and problems of weights or encoder as text."""
    try:
        found = setting.checkpoint
        verify_digests(found.path, found.files, found.adapter and found.adapter.weights)
    except CheckpointError as error:
        return [f"{error} Rows of this run may be of either; drop the space."]
    gpus = float(setting.device == "cuda")
    task = remote(_compare, num_cpus=0 if gpus else 1, num_gpus=gpus, max_retries=1)
    return ray.get(task.remote(setting.encoder, target, setting.location))


def _compare(spec: EncoderSpec, target: Target, location: Location) -> list[float | str]:
    try:
        encoder = spec.load([target.config])
        check_canaries(encoder, target.config.alphabet or "aa")
    except ProteaRayError as error:  # as a value: Ray would wrap it in a page of traces
        return [str(error)]
    return list(_distances(encoder, location, target))


def _distances(encoder: Encoder, location: Location, target: Target) -> Iterator[float | str]:
    """Relative distance of each recomputed protein from its stored first row, and as text where it is too large."""
    for key, stored, letters in _stored(location, target):
        (again,) = encoder.embed([letters])
        if not isinstance(again, Embedded):
            yield f"{key.hex()} has a vector, but is rejected now: {again.reason}, {again.detail}"
            continue
        distance = _relative_distance(_first_row(again), stored)
        yield distance
        if distance > _TOLERANCE:
            yield f"{key.hex()} is stored {distance:.2f} of its length away from what the model gives now"


def _relative_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Length of one - other as a share of the length of `one`."""
    return float(np.linalg.norm(one - other) / max(np.linalg.norm(one), np.finfo(np.float32).tiny))


def _first_row(found: Embedded) -> np.ndarray:
    """(width,) float32: the vectors of a protein's first row, concatenated; of a matrix the mean over its residues."""
    parts = [vectors[0] for vectors in found.pooled.values()]
    parts += [matrix.astype(np.float32).mean(axis=0) for matrix in (found.residues or ())[:1]]
    return np.concatenate(parts).astype(np.float32)


def _stored(location: Location, target: Target) -> Iterator[tuple[bytes, np.ndarray, str]]:
    """Key, first row (as `_first_row` gives it) and letters of each protein of the sample."""
    table = open_table(target.uri)
    rows = _sample(table)
    found = table._take_rows(rows, columns=["key", *target.config.pooled]).to_pylist()
    matrices = _matrix_means(table, rows, target) if target.config.keeps_residues else [[]] * len(rows)
    letters = _letters(location, [row["key"] for row in found])
    for row, matrix in zip(found, matrices, strict=True):
        if row["key"] in letters:  # a vector may outlive its protein
            parts = [*(row[name] for name in target.config.pooled), matrix]
            yield row["key"], np.concatenate(parts).astype(np.float32), letters[row["key"]]


def _letters(location: Location, keys: list[bytes]) -> dict[bytes, str]:
    batches = scan_proteins(location, None, ["key", "sequence"], filter=among("key", keys))
    return {row["key"]: row["sequence"] for batch in batches for row in batch.to_pylist()}


def _sample(table: lance.LanceDataset) -> list[int]:
    """Row ids of first rows: the shortest proteins among evenly spaced ones."""
    rows = table.to_table(columns=["n_residues"], filter=FIRST_ROW, with_row_id=True)
    spaced = np.unique(np.linspace(0, len(rows) - 1, _LOOKED_AT).astype(np.int64)) if len(rows) else np.zeros(0, int)
    lengths, ids = (rows[name].to_numpy()[spaced] for name in ("n_residues", "_rowid"))
    return ids[np.argsort(lengths, kind="stable")[:RECOMPUTED]].tolist()


def _matrix_means(table: lance.LanceDataset, rows: list[int], target: Target) -> list[np.ndarray]:
    facts = vector_facts(target.schema)
    raw = [blob.readall() for blob in table.take_blobs(RESIDUES, ids=rows) if blob is not None]
    matrices = [np.frombuffer(r, facts["store_dtype"]).reshape(-1, facts["residue_width"]) for r in raw]
    return [matrix.astype(np.float32).mean(axis=0) for matrix in matrices]
