"""How near a variant's vectors are to those of exact attention, for proteins that one window holds.

There exact attention is what the model was trained with, so that the difference is an error of the variant. The exact
states are computed once and kept while the variants are compared with them, up to `KEPT_BYTES`: where that does not
hold every residue, as many of each protein as it holds, evenly spaced. Means over residues are over those.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from protea_ray.comparison.compared_rows import FidelityRow, PooledRow
from protea_ray.comparison.protein_bins import DrawnProtein
from protea_ray.encoder.encoder import Encoder
from protea_ray.encoder.layout import layout
from protea_ray.errors import EncoderError
from protea_ray.query.drift import NEIGHBOURS, shared_neighbours

KEPT_BYTES = 1 << 30
_TINY = 1e-12


@dataclass(frozen=True)
class ExactStates:
    """What variants are compared with: for each protein the residues that are kept, and its pooled vector.

    `states` has (layers, kept, D) float32 for each protein, the last layer first; `kept` its residues, ascending;
    `pooled` (n, D) float64 the mean over all residues of the last layer; `centre` (layers, D) the mean of the states.
    """

    proteins: tuple[DrawnProtein, ...]
    kept: tuple[np.ndarray, ...]
    states: tuple[np.ndarray, ...]
    pooled: np.ndarray
    centre: np.ndarray


def exact_states(
    encoder: Encoder, proteins: Sequence[DrawnProtein], *, kept_bytes: int = KEPT_BYTES
) -> ExactStates:  # fmt: skip
    """Compute and keep the exact states of `proteins`; raises EncoderError, as `fidelity` does."""
    kept = _kept([len(protein.sequence) for protein in proteins], encoder, kept_bytes)
    states, pooled = _states(encoder, proteins, kept)
    whole = np.stack([part.sum(axis=1, dtype=np.float64) for part in states]).sum(axis=0)
    return ExactStates(tuple(proteins), kept, states, pooled, whole / sum(map(len, kept)))


def fidelity(exact: ExactStates, encoder: Encoder, variant: str) -> tuple[list[FidelityRow], list[PooledRow]]:
    """Rows of one loaded variant, by bin and layer, and by bin.

    Raises EncoderError for a protein that the variant sees in more than one window, for states of another width or
    number of layers, for memory that runs out, and for numbers that are not finite.
    """
    states, pooled = _states(encoder, exact.proteins, exact.kept)
    if states[0].shape[::2] != exact.states[0].shape[::2]:
        raise EncoderError(
            f"{states[0].shape[0]} layers of {states[0].shape[2]} numbers cannot be compared with "
            f"{exact.states[0].shape[0]} of {exact.states[0].shape[2]}"
        )
    bins = np.array([protein.bin for protein in exact.proteins])
    errors, cosines = _residue_measures(exact, states)
    of_residue = np.repeat(bins, [len(kept) for kept in exact.kept])
    layered = [
        FidelityRow(variant, layer, bin, int((bins == bin).sum()), float(errors[layer, of_residue == bin].mean()),
                    float(cosines[layer, of_residue == bin].mean()))
        for bin in np.unique(bins).tolist() for layer in range(len(errors))
    ]  # fmt: skip
    return layered, _pooled_rows(exact, pooled, bins, variant)


def _residue_measures(exact: ExactStates, states: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Relative error and centred cosine of every residue that is kept, both (layers, residues)."""
    errors: list[np.ndarray] = []
    cosines: list[np.ndarray] = []
    for right, found in zip(exact.states, states, strict=True):
        away = np.linalg.norm(found - right, axis=2)
        errors.append(away / np.maximum(np.linalg.norm(right, axis=2), _TINY))
        cosines.append(_cosine(found - exact.centre[:, None], right - exact.centre[:, None]))
    return np.concatenate(errors, axis=1), np.concatenate(cosines, axis=1)


def _pooled_rows(exact: ExactStates, pooled: np.ndarray, bins: np.ndarray, variant: str) -> list[PooledRow]:
    """Rows of pooled vectors by bin. Neighbours are looked for in the whole sample, as a search does: not centred.

    A sample in which every protein is a neighbour of every other tells nothing of them.
    """
    centre = exact.pooled.mean(axis=0)
    cosine = _cosine(pooled - centre, exact.pooled - centre)
    tells = len(bins) - 1 > NEIGHBOURS
    overlap = shared_neighbours(_unit(exact.pooled), _unit(pooled), NEIGHBOURS) if tells else None
    return [
        PooledRow(variant, bin, int((bins == bin).sum()), float(cosine[bins == bin].mean()),
                  float(cosine[bins == bin].min()), None if overlap is None else float(overlap[bins == bin].mean()))
        for bin in np.unique(bins).tolist()
    ]  # fmt: skip


def _states(
    encoder: Encoder, proteins: Sequence[DrawnProtein], kept: Sequence[np.ndarray]
) -> tuple[tuple[np.ndarray, ...], np.ndarray]:  # fmt: skip
    """The kept rows of all layers of each protein, (layers, kept, D), the last layer first; and pooled (n, D)."""
    states: list[np.ndarray] = [np.empty(0)] * len(proteins)
    pooled = np.empty((len(proteins), encoder.shape.hidden))
    for i, whole in _whole_states(encoder, proteins):
        pooled[i] = whole[0].mean(axis=0, dtype=np.float64)
        states[i] = whole[:, kept[i]]
        if not (np.isfinite(states[i]).all() and np.isfinite(pooled[i]).all()):
            raise EncoderError(f"a protein of {len(proteins[i].sequence):,} residues: the model gave NaN or Inf")
    return tuple(states), pooled


def _whole_states(encoder: Encoder, proteins: Sequence[DrawnProtein]) -> Iterator[tuple[int, np.ndarray]]:
    """(number, (layers, L, D) float32) of every protein, the last layer first, as packs are done."""
    recipe, alphabet = encoder.recipes[0], encoder.alphabet
    core = replace(encoder.core, certified=False)  # what a run would reject is what this is to show
    ids = [alphabet.residues(protein.sequence) for protein in proteins]
    for one in ids:
        if (one < 0).any():
            raise EncoderError("a protein has letters that are no residues of this model")
        laid = layout(len(one), recipe)
        if laid is None or laid.windows != ((0, len(one)),):
            raise EncoderError(f"a protein of {len(one):,} residues is not one window of this variant")
    depth = len(core.stack.layers)
    windows, wanted = [alphabet.window(one) for one in ids], frozenset(range(1, depth + 1))
    for members, pack, found in core.in_packs(windows, encoder.token_budget, wanted, lambda x: x.float().cpu()):
        whole = torch.stack([found[layer] for layer in range(depth, 0, -1)]).numpy()
        for i, row in zip(members, pack.rows[:-1].tolist(), strict=True):
            first = row + len(alphabet.before)
            yield i, whole[:, first : first + len(ids[i])]


def _kept(lengths: Sequence[int], encoder: Encoder, kept_bytes: int) -> tuple[np.ndarray, ...]:
    """The residues of each protein that are kept: all of them, or as many as the bytes hold, evenly spaced."""
    each = 4 * encoder.shape.hidden * len(encoder.core.stack.layers)
    most = max(lengths)
    if sum(lengths) * each > kept_bytes:
        most = max(1, kept_bytes // (each * len(lengths)))
    spaced = (np.linspace(0, length - 1, min(length, most)) for length in lengths)
    return tuple(np.unique(places.round().astype(np.int64)) for places in spaced)


def _cosine(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    return (one * other).sum(axis=-1) / np.maximum(norms, _TINY)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _TINY)
