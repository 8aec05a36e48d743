"""How one protein passes through one recipe: the windows that the model sees, the spans that are stored as rows, and
which residues of a span come from which window.

`on_long` decides about a protein longer than `max_residues`, in both chunk modes alike: it is truncated, rejected, or
seen in windows. Independent chunks are forward passes of their own, and a chunk longer than `max_residues` has
windows of its own; posthoc chunks are cut from the windows of the whole protein. Where a recipe averages windows they
lie end to end, each of `max_residues` but the last.
"""

from __future__ import annotations

from dataclasses import dataclass

from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.plan.windows import Span, chunk_spans, forward_windows, owned


@dataclass(frozen=True)
class Piece:
    """Residues [start, end) of the protein that span number `span` takes from window number `window`."""

    window: int
    span: int
    start: int
    end: int


@dataclass(frozen=True)
class Layout:
    """Windows and spans in residues; `pieces` by span, then by position; `cls` are the windows whose CLS is taken.

    The first `seen` residues go through the model; the recipe truncates the rest. `is_averaged`: row p of the protein
    is the mean of row p of every window that has one.
    """

    windows: tuple[Span, ...]
    spans: tuple[Span, ...]
    pieces: tuple[Piece, ...]
    cls: tuple[int, ...]
    seen: int
    is_averaged: bool = False

    def of_window(self, window: int) -> list[int]:
        """Numbers of the pieces that come from one window."""
        return [number for number, piece in enumerate(self.pieces) if piece.window == window]


def layout(length: int, recipe: EmbeddingConfig) -> Layout | None:
    """The layout of a protein of `length` residues; None when the recipe rejects it as too long.

    A recipe that pools nothing but `cls` and keeps no logits runs the first window alone; `seen` is the end of it.
    """
    limit, overlap = recipe.max_residues, recipe.window_overlap
    is_long = limit is not None and length > limit
    if is_long and recipe.on_long == "reject":
        return None
    seen = limit if limit is not None and is_long and recipe.on_long == "truncate" else length
    if recipe.stitch == "average" and limit is not None and is_long:
        return _averaged(seen, limit, recipe)
    whole = forward_windows(seen, limit, overlap)
    if recipe.pooling == ("cls",) and not recipe.keeps_logits:
        return Layout((whole[0],), (whole[0],), (), (0,), whole[0][1])
    spans = [(0, seen)] if recipe.chunk_size is None else chunk_spans(seen, recipe.chunk_size, recipe.chunk_overlap)
    alone = recipe.chunk_size is not None and recipe.chunk_mode == "independent"
    numbers: dict[Span, int] = {}
    pieces = (
        _independent_pieces(spans, limit, overlap, numbers) if alone else _posthoc_pieces(spans, whole, seen, numbers)
    )
    cls = (numbers.setdefault(whole[0], len(numbers)),) if "cls" in recipe.pooling else ()
    return Layout(tuple(numbers), tuple(spans), tuple(pieces), cls, seen)


def _averaged(seen: int, limit: int, recipe: EmbeddingConfig) -> Layout:
    """Windows of `limit` residues end to end, one piece of each, and the CLS of all of them."""
    windows = tuple(chunk_spans(seen, limit, 0))
    pieces = tuple(Piece(number, 0, start, end) for number, (start, end) in enumerate(windows))
    cls = tuple(range(len(windows))) if "cls" in recipe.pooling else ()
    return Layout(windows, ((0, seen),), pieces, cls, seen, is_averaged=True)


def _independent_pieces(spans: list[Span], limit: int | None, overlap: int, numbers: dict[Span, int]) -> list[Piece]:
    """Pieces of independent chunks, where each span has windows of its own; adds the windows to `numbers`."""
    pieces = []
    for span, (start, end) in enumerate(spans):
        windows = forward_windows(end - start, limit, overlap)
        for (first, last), (a, b) in zip(windows, owned(windows, end - start), strict=True):
            window = numbers.setdefault((start + first, start + last), len(numbers))
            pieces.append(Piece(window, span, start + a, start + b))
    return pieces


def _posthoc_pieces(spans: list[Span], whole: list[Span], seen: int, numbers: dict[Span, int]) -> list[Piece]:
    """Pieces of posthoc chunks, cut from the windows `whole` of the protein; adds the windows to `numbers`."""
    pieces = []
    for window, (a, b) in zip(whole, owned(whole, seen), strict=True):
        number = numbers.setdefault(window, len(numbers))
        for span, (start, end) in enumerate(spans):
            if max(a, start) < min(b, end):
                pieces.append(Piece(number, span, max(a, start), min(b, end)))
    return sorted(pieces, key=lambda piece: (piece.span, piece.start))
