"""Where a protein is cut: spans of stored rows, windows of forward passes, and who owns a residue.

All positions are residues of the protein, 0-based, as half-open pairs (start, end). Spans are what is
stored; windows are what one forward pass sees. They are not the same thing: spans may be short at the tail,
windows of one protein are all equally long, so that no residue is seen with little context.
"""

from __future__ import annotations

from itertools import pairwise

Span = tuple[int, int]


def chunk_spans(length: int, size: int, overlap: int) -> list[Span]:
    """Spans of stored rows: a new one every `size - overlap` residues, the last ones cut at the end.

    (10, 6, 3) gives (0,6) (3,9) (6,10) (9,10): ceil(length / step) spans, a tail inside the span before it
    included. Raises ValueError when overlap >= size, which would never move forward.
    """
    if not 0 <= overlap < size:
        raise ValueError(f"overlap {overlap} must be at least 0 and below size {size}")
    return [(start, min(start + size, length)) for start in range(0, length, size - overlap)]


def forward_windows(length: int, max_residues: int | None, overlap: int) -> list[Span]:
    """Windows of forward passes: as few as possible, equally long, evenly spaced.

    Neighbours share at least `overlap` residues. A protein of at most `max_residues` (None: no limit) is
    one window; an empty one has none. Raises ValueError when overlap >= max_residues.
    """
    if length <= 0:
        return []
    if max_residues is None or length <= max_residues:
        return [(0, length)]
    if not 0 <= overlap < max_residues:
        raise ValueError(f"overlap {overlap} must be at least 0 and below max_residues {max_residues}")
    count = _ceil(length - overlap, max_residues - overlap)
    width = _ceil(length + (count - 1) * overlap, count)
    starts = (round(i * (length - width) / (count - 1)) for i in range(count))
    return [(start, start + width) for start in starts]


def owned(windows: list[Span], length: int) -> list[Span]:
    """The residues taken from each window: each once, from where it lies furthest from an edge.

    `windows` are those of `forward_windows`, equally long, so the overlap of two neighbours is split in the
    middle.
    """
    middles = [(left[1] + right[0]) // 2 for left, right in pairwise(windows)]
    cuts = [0, *middles, length]
    return list(pairwise(cuts)) if windows else []


def _ceil(a: int, b: int) -> int:
    return -(-a // b)
