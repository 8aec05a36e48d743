"""How far last hidden states are from those of plain transformers, one protein at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from protea_ray.acceptance.ways import family_of, plain_model
from protea_ray.encoder.collect import Embedded
from protea_ray.encoder.encoder import Encoder

States = list[np.ndarray | None]  # of each protein (residues, width); None where there are none


@dataclass(frozen=True)
class Difference:
    """Over the proteins that both sides have. Relative: the length of the difference over that of the expected matrix.

    `lost` counts proteins that were expected and not found, which includes those that are not finite.
    """

    relative: float
    mean: float
    absolute: float
    squared: float
    compared: int
    lost: int

    @property
    def worst(self) -> float:
        """The largest relative difference; infinite when a protein is lost, as no tolerance covers that."""
        return float("inf") if self.lost or not self.compared else self.relative


def difference(found: Sequence[np.ndarray | None], expected: Sequence[np.ndarray | None]) -> Difference:
    """Compare protein by protein; one that was not expected is not looked at."""
    pairs = [(a, b) for a, b in zip(found, expected, strict=True) if b is not None]
    both = [(a.astype(np.float64), b.astype(np.float64)) for a, b in pairs if a is not None and np.isfinite(a).all()]
    relative = [float(np.linalg.norm(a - b) / max(float(np.linalg.norm(b)), 1e-30)) for a, b in both]
    absolute = [float(np.abs(a - b).max()) for a, b in both]
    squared = [float(((a - b) ** 2).mean()) for a, b in both]
    return Difference(
        max(relative, default=np.nan), float(np.mean(relative)) if relative else np.nan, max(absolute, default=np.nan),
        float(np.mean(squared)) if squared else np.nan, len(both), len(pairs) - len(both),
    )  # fmt: skip


def chosen(states: States, keep: Sequence[bool]) -> States:
    """The states with those that are not to be looked at left out."""
    return [x if wanted else None for x, wanted in zip(states, keep, strict=True)]


def plain_states(directory: Path, device: str, dtype: str, proteins: Sequence[str], double: bool = False) -> States:
    """Last hidden states of the plain model, residues only, in float32 (with `double` computed and kept in float64).

    None for a protein for which the device has not enough memory, or whose numbers are not finite.
    """
    model = plain_model(directory, device, dtype)
    model = model.double() if double else model
    alphabet = family_of(directory).alphabet(directory)
    found: States = []
    for protein in proteins:
        ids = torch.from_numpy(alphabet.window(alphabet.residues(protein)))[None].to(device)
        states = _run(model, ids)
        before = len(alphabet.before)
        rows = None if states is None else states[before : before + len(protein)]
        if rows is None or not bool(torch.isfinite(rows).all()):
            found.append(None)
        else:
            found.append((rows if double else rows.float()).cpu().numpy())
    return found


def _run(model: Any, ids: torch.Tensor) -> torch.Tensor | None:
    """Last hidden state of one protein (T, D); None when the device has no memory for it."""
    try:
        with torch.inference_mode():
            return model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
    except torch.OutOfMemoryError:
        pass  # with the exception go its frames, and with them the tensors
    torch.cuda.empty_cache()
    return None


def packed_states(encoder: Encoder, proteins: Sequence[str]) -> States:
    """The same from our encoder under a recipe that keeps residues; all proteins packed together."""
    found: States = [None] * len(proteins)
    for result in encoder.embed(proteins):
        if isinstance(result, Embedded) and result.residues is not None:
            found[result.index] = result.residues[0]
    return found
