"""The whole pipeline into a store: every row, the encoder's own vectors, its rate beside the encoder alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from protea_ray.acceptance.drawn import sample
from protea_ray.acceptance.machine import Utilisation
from protea_ray.acceptance.published_shapes import MODELS
from protea_ray.acceptance.verdicts import AcceptanceReport, Measured
from protea_ray.acceptance.ways import opened, ours
from protea_ray.errors import StoreError
from protea_ray.sequences.records import key_of

PART = "pipeline"
OF_THE_ENCODER = 0.95
MODEL = {"cuda": "650M", "cpu": "8M"}
RESIDUES = {"cuda": 6_000_000, "cpu": 4_000}  # half a minute of a GPU, so that the last commit counts once
CUT = 1022
LEAST_SECONDS = 180.0  # Ray and three encoders start
COMPARED = 200
STORED = 2.0**-11  # of a number, half of float16's last digit: the store's own precision
HALF = 2e-3  # vectors of one protein in two packs: as far as bfloat16 products in another order go


def check(report: AcceptanceReport, device: str, pool: Sequence[str], scratch: Path, seconds: float) -> None:
    """Add the lines of this part; where Ray or Lance is missing, one line that says so."""
    if missing := [name for name in ("ray", "lance") if find_spec(name) is None]:
        report.not_run(PART, "every line", f"{' and '.join(missing)} cannot be imported: pip install ray[data] pylance")
        return
    report.start(seconds)
    proteins = _enough(sample([s for s in pool if device == "cuda" or len(s) < 100], len(pool), CUT), RESIDUES[device])
    report.run(
        PART,
        f"{MODEL[device]} into a store",
        lambda: _measure(device, proteins, scratch),
        limit=max(seconds, LEAST_SECONDS),
    )


def _enough(proteins: Sequence[str], residues: int) -> list[str]:
    """Different proteins of so many residues together: those given, then the same without their first ones."""
    found: dict[str, None] = {}
    left = residues
    for cut in range(CUT):
        for protein in proteins:
            if left <= 0 or len(protein) <= cut:
                continue
            if protein[cut:] not in found:
                found[protein[cut:]] = None
                left -= len(protein) - cut
        if left <= 0:
            break
    return list(found)


def _measure(device: str, proteins: Sequence[str], scratch: Path) -> dict[str, Measured]:
    from protea_ray.acceptance.whole_pipeline import encoders, pipeline  # Ray and Lance

    model = MODELS[MODEL[device]]
    directory = model.write(scratch, device == "cuda", device)
    few = proteins[: max(8, len(proteins) // 8)]
    alone = encoders(directory, few, 1, device)
    with Utilisation() as used:
        done = pipeline(directory, proteins, scratch, 1, device)
    alone = (alone + encoders(directory, few, 1, device)) / 2
    rate = sum(map(len, proteins)) / done.steady
    stored = dict(_stored(Path(done.store)))
    return {
        "rows": Measured(abs(len(stored) - len(proteins)), 0, message=f"{len(stored):,} of {len(proteins):,} proteins"),
        "vectors": _vectors(directory, device, proteins[:COMPARED], stored),
        "of the encoder alone": Measured(
            rate / alone, OF_THE_ENCODER if device == "cuda" else None, at_least=True,
            message=f"{rate:,.0f} of {alone:,.0f} residues/s; start {done.startup:.1f} s apart",
        ),
        "GPU utilisation": _utilisation(used, done.startup),
    }  # fmt: skip


def _stored(store: Path) -> Iterator[tuple[bytes, np.ndarray]]:
    """(key, mean vector) of every row of the only space, read with lance alone."""
    import lance

    for path in sorted(store.glob("*.lance")):
        table = lance.dataset(str(path))
        if {"key", "unit", "mean"} <= set(table.schema.names):
            rows = table.to_table(columns=["key", "mean"])
            vectors = rows["mean"].combine_chunks().to_numpy(zero_copy_only=False)
            yield from zip(rows["key"].to_pylist(), vectors, strict=True)
            return
    raise StoreError(f"{store} holds no space of vectors")


def _vectors(directory: Path, device: str, proteins: Sequence[str], stored: dict[bytes, Any]) -> Measured:
    """Largest relative distance of a stored vector from that of the encoder alone, both of length 1."""
    expected = ours(directory, device, None)()(proteins)
    away = []
    for protein, vector in expected.items():
        row = stored.get(key_of(protein))
        unit = vector / np.linalg.norm(vector)
        away.append(np.inf if row is None else float(np.linalg.norm(np.asarray(row, np.float64) - unit)))
    single = opened(directory).facts.gpu_dtype if device == "cuda" else "float32"
    return Measured(max(away), STORED if single == "float32" else HALF, message=f"{len(away)} proteins, {single}")


def _utilisation(used: Utilisation, startup: float) -> Measured:
    """Per cent over the time of the run, its start-up included, and the samples."""
    if not used.samples:
        return Measured(None, message="nvidia-smi gave no samples")
    busy = [sample for sample in used.samples if sample > 0]
    note = f"median {np.median(busy) if busy else 0:.0f} % of the samples that are not 0; start-up {startup:.0f} s"
    return Measured(float(np.mean(used.samples)), message=note, more={"per cent": used.samples})
