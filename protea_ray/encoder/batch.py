"""One pack through the model and into the collectors of every recipe: one forward pass for any number of recipes.

`run` queues all device work of a pack and the copies to the host; `PendingPack.wait` waits for the copies and returns
the result of each window. A pack that runs out of memory returns nothing, so its windows can be run again in smaller
packs. The next pack can be queued before this one is waited for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.encoder.collect import Collector, PieceValues
from protea_ray.encoder.forward import Core, Pack
from protea_ray.encoder.pool import LayerView, LayerViews, finite_rows, reduce, unit
from protea_ray.encoder.transfer import Transfer, to_device


@dataclass
class Window:
    """One forward window: token ids with special tokens, its first residue, and the collectors that need it."""

    ids: np.ndarray
    start: int
    users: list[tuple[Collector, int]] = field(default_factory=list)  # with the window's number there


@dataclass(frozen=True)
class PackRecipe:
    """What a pack needs of one recipe; `before` is the number of special tokens in front of the residues.

    `logits` is the view of the last state if the recipe keeps logits, else None.
    """

    recipe: EmbeddingConfig
    view: LayerView
    before: int
    logits: LayerView | None = None

    @property
    def reduces(self) -> bool:
        """Whether the recipe has a pooling over residues (any but cls and none)."""
        return bool(set(self.recipe.pooled) - {"cls"})


@dataclass(frozen=True)
class WindowResult:
    """The values of one window for one collector: pieces by number, and CLS (width,) if this window gives it.

    `window` is the window's number there.
    """

    collector: Collector
    window: int
    finite: bool
    parts: dict[int, PieceValues]
    cls: np.ndarray | None


@dataclass(frozen=True)
class _Consumer:
    """One collector that needs one window of a pack.

    `rows` are the window's rows [first, end) in the pack, `start` is the window's first residue in the protein.
    """

    collector: Collector
    window: int
    rows: tuple[int, int]
    start: int

    @property
    def pieces(self) -> Sequence[int]:
        """Numbers of the pieces that come from this window."""
        return self.collector.layout.of_window(self.window)

    @property
    def wants_cls(self) -> bool:
        """Whether the protein's CLS vector comes from this window."""
        return self.window in self.collector.layout.cls

    def stretch(self, before: int, piece: int) -> tuple[int, int]:
        """Rows [first, end) of one piece in the pack."""
        part = self.collector.layout.pieces[piece]
        shift = self.rows[0] + before - self.start
        return part.start + shift, part.end + shift


@dataclass(frozen=True)
class _RecipeResult:
    """What one recipe takes from a pack, while it is copied to the host.

    `sums` are (stretches, width) and `kept` (T, width), both by name: in the recipe's store_dtype, rows that will be
    averaged in float32. `cls` is (users with
    `wants_cls`, width), `finite` (T,) of the states, `fits` (T,) of what is kept, None where nothing is.
    """

    users: list[_Consumer]
    stretches: list[tuple[int, int]]
    sums: dict[str, Tensor]
    kept: dict[str, Tensor]
    cls: Tensor | None
    finite: Tensor
    fits: Tensor | None


@dataclass(frozen=True)
class PendingPack:
    """A pack that is being computed; its tensors may be read after `wait`."""

    transfer: Transfer
    results: list[_RecipeResult]

    def wait(self) -> list[WindowResult]:
        """Wait for the copies; returns the result of every window for every collector."""
        self.transfer.wait()
        return [window for result in self.results for window in _window_results(result)]


def run(core: Core, plans: Sequence[PackRecipe], windows: Sequence[Window]) -> PendingPack:
    """Queue one forward pass over `windows`; raises torch.OutOfMemoryError, and then no collector has changed."""
    with torch.inference_mode():
        pack = core.pack([window.ids for window in windows])
        views = LayerViews(view for plan in plans for view in (plan.view, plan.logits) if view is not None)
        for index, state in core.states(pack, views.wanted):
            views.add(index, state)
        transfer = Transfer(core.device)
        finite = {view: transfer.host(finite_rows(matrix)) for view, matrix in views.matrices.items()}
        last = {plan.logits for plan in plans if plan.logits is not None}
        logits = {view: core.logits(views.matrices[view]) for view in last}
        results = [
            _queue(plan, views.matrices[plan.view], logits[plan.logits] if plan.logits else None, users,
                  finite[plan.view], transfer)
            for number, plan in enumerate(plans) if (users := _consumers(pack, windows, number))
        ]  # fmt: skip
        return PendingPack(transfer, results)


def _consumers(pack: Pack, windows: Sequence[Window], recipe: int) -> list[_Consumer]:
    return [
        _Consumer(collector, number, (int(pack.rows[i]), int(pack.rows[i + 1])), window.start)
        for i, window in enumerate(windows)
        for collector, number in window.users
        if collector.number == recipe
    ]


def _queue(
    plan: PackRecipe, matrix: Tensor, logits: Tensor | None, users: list[_Consumer], finite: Tensor, transfer: Transfer
) -> _RecipeResult:
    """Reduce the aggregated matrix (T, width) as far as the recipe's poolings need it, and queue the copies."""
    residues = unit(matrix) if plan.recipe.normalize_residues else matrix
    stretches = [user.stretch(plan.before, piece) for user in users for piece in user.pieces]
    sums = _sums(plan, residues, stretches) if plan.reduces and stretches else {}
    averaged = any(user.collector.layout.is_averaged for user in users)
    wanted = {"rows": residues if plan.recipe.keeps_residues or averaged else None, "logits": logits}
    dtype = torch.float32 if averaged else getattr(torch, plan.recipe.store_dtype)
    kept = {name: values.to(dtype) for name, values in wanted.items() if values is not None}
    # looked at on the device: numpy's isfinite takes longer on half precision than a GPU for the whole model
    fits = torch.stack([finite_rows(values) for values in kept.values()]).all(0) if kept else None
    first = [user.rows[0] for user in users if user.wants_cls]  # CLS, never normalised by residue
    return _RecipeResult(
        users=users, stretches=stretches, finite=finite, fits=None if fits is None else transfer.host(fits),
        sums={name: transfer.host(values) for name, values in sums.items()},
        kept={name: transfer.host(values) for name, values in kept.items()},
        cls=transfer.host(matrix[to_device(np.array(first), matrix.device)]) if first else None,
    )  # fmt: skip


def _sums(plan: PackRecipe, residues: Tensor, stretches: list[tuple[int, int]]) -> dict[str, Tensor]:
    pooling = set(plan.recipe.pooling)
    found = reduce(residues, stretches, bool(pooling & {"max", "mean_max"}), "std" in pooling)
    given = {"total": found.total, "peak": found.peak, "spread": found.spread}
    return {name: values for name, values in given.items() if values is not None}


def _window_results(result: _RecipeResult) -> list[WindowResult]:
    parts, finite = iter(_piece_values(result)), result.finite.numpy()
    cls = iter([] if result.cls is None else result.cls.numpy())
    return [
        WindowResult(
            user.collector, user.window, bool(finite[slice(*user.rows)].all()),
            {piece: next(parts) for piece in user.pieces}, next(cls) if user.wants_cls else None,
        )
        for user in result.users
    ]  # fmt: skip


def _piece_values(result: _RecipeResult) -> list[PieceValues]:
    """The values of each stretch, in order."""
    sums = {name: values.numpy() for name, values in result.sums.items()}
    kept = {name: values.numpy() for name, values in result.kept.items()}
    fits = None if result.fits is None else result.fits.numpy()
    return [
        PieceValues(
            end - start,
            fits is None or bool(fits[start:end].all()),
            **{name: matrix[start:end].copy() for name, matrix in kept.items()},  # not a view of the whole pack
            **{name: values[i] for name, values in sums.items()},
        )
        for i, (start, end) in enumerate(result.stretches)
    ]
