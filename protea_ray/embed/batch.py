"""One pack through the model and into the collectors of every recipe: one forward pass, however many recipes.

All device work of a pack is done before anything is handed over, so that a pack that runs out of memory can be
run again in smaller ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from protea_ray.config.embedding import EmbeddingConfig
from protea_ray.embed.collect import Collector, Part
from protea_ray.embed.forward import Core, Pack
from protea_ray.embed.pool import View, Views, finite_rows, reduce, unit


@dataclass
class Window:
    """One forward window: token ids with special tokens, its first residue, and the collectors that want it."""

    ids: np.ndarray
    start: int
    users: list[tuple[Collector, int]] = field(default_factory=list)  # with the window's number there


@dataclass(frozen=True)
class Plan:
    """One recipe as far as a pack is concerned; `before` counts the special tokens in front of the residues.

    `logits` is the view of the last state where the recipe keeps logits.
    """

    recipe: EmbeddingConfig
    view: View
    before: int
    logits: View | None = None

    @property
    def reduces(self) -> bool:
        """Whether stretches of residues are pooled at all."""
        return bool(set(self.recipe.pooled) - {"cls"})


@dataclass(frozen=True)
class Handover:
    """What one window gives to one collector."""

    collector: Collector
    finite: bool
    parts: dict[int, Part]
    cls: np.ndarray | None


def run(core: Core, plans: Sequence[Plan], windows: Sequence[Window]) -> list[Handover]:
    """One forward pass over `windows`; raises torch.OutOfMemoryError with nothing handed over."""
    with torch.inference_mode():
        pack = core.pack([window.ids for window in windows])
        views = Views(view for plan in plans for view in (plan.view, plan.logits) if view is not None)
        for index, state in core.states(pack, views.wanted):
            views.add(index, state)
        finite = {view: finite_rows(matrix) for view, matrix in views.matrices.items()}
        last = {plan.logits for plan in plans if plan.logits is not None}
        logits = {view: core.logits(views.matrices[view]) for view in last}
        handovers = []
        for number, plan in enumerate(plans):
            users = _users(pack, windows, number)
            if users:
                given = _give(plan, views.matrices[plan.view], logits[plan.logits] if plan.logits else None, users)
                handovers += _checked(given, users, finite[plan.view])
    return handovers


@dataclass(frozen=True)
class _User:
    """One collector's interest in one window: rows of the window in the pack, pieces with rows of theirs."""

    collector: Collector
    window: int
    rows: tuple[int, int]
    start: int


def _users(pack: Pack, windows: Sequence[Window], recipe: int) -> list[_User]:
    return [
        _User(collector, number, (int(pack.rows[i]), int(pack.rows[i + 1])), window.start)
        for i, window in enumerate(windows)
        for collector, number in window.users
        if collector.number == recipe
    ]


def _give(
    plan: Plan, matrix: Tensor, logits: Tensor | None, users: list[_User]
) -> list[tuple[dict[int, Part], np.ndarray | None]]:
    """Parts and CLS vectors for each user, read from the aggregated matrix (T, width)."""
    residues = unit(matrix) if plan.recipe.normalize_residues else matrix
    pieces = [user.collector.layout.of_window(user.window) for user in users]
    stretches = [_stretch(plan, user, piece) for user, own in zip(users, pieces, strict=True) for piece in own]
    parts = iter(_parts(plan, residues, logits, stretches))
    cls = iter(_cls(matrix, [user.rows[0] for user in users if _wants_cls(user)]))
    return [
        ({piece: next(parts) for piece in own}, next(cls) if _wants_cls(user) else None)
        for user, own in zip(users, pieces, strict=True)
    ]


def _stretch(plan: Plan, user: _User, piece: int) -> tuple[int, int]:
    """Rows of one piece in the pack."""
    part = user.collector.layout.pieces[piece]
    shift = user.rows[0] + plan.before - user.start
    return part.start + shift, part.end + shift


def _wants_cls(user: _User) -> bool:
    return user.collector.layout.cls == user.window


def _parts(plan: Plan, residues: Tensor, logits: Tensor | None, stretches: list[tuple[int, int]]) -> list[Part]:
    """Every stretch reduced as far as the recipe's poolings need it, and the matrices that it keeps."""
    columns = {}
    pooling = set(plan.recipe.pooling)
    if plan.reduces and stretches:
        sums = reduce(residues, stretches, bool(pooling & {"max", "mean_max"}), "std" in pooling)
        given = {"total": sums.total, "peak": sums.peak, "spread": sums.spread}
        columns = {name: values for name, values in given.items() if values is not None}
    kept = {"rows": residues if plan.recipe.keeps_residues else None, "logits": logits}
    dtype = getattr(torch, plan.recipe.store_dtype)
    stored = {name: matrix.to(dtype).cpu().numpy() for name, matrix in kept.items() if matrix is not None}
    return [
        Part(
            end - start,
            **{name: matrix[start:end].copy() for name, matrix in stored.items()},  # not a view of the whole pack
            **{name: values[i] for name, values in columns.items()},
        )
        for i, (start, end) in enumerate(stretches)
    ]


def _cls(matrix: Tensor, rows: list[int]) -> list[np.ndarray]:
    """CLS vectors: the first row of their windows, never normalised by residue."""
    if not rows:
        return []
    return list(matrix[torch.tensor(rows, device=matrix.device)].cpu().numpy())


def _checked(
    given: list[tuple[dict[int, Part], np.ndarray | None]], users: list[_User], finite: np.ndarray
) -> list[Handover]:
    return [
        Handover(user.collector, bool(finite[slice(*user.rows)].all()), parts, cls)
        for user, (parts, cls) in zip(users, given, strict=True)
    ]
