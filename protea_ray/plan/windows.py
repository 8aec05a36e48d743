"""Where a protein is cut: spans of stored rows, windows of forward passes, and which window a residue is taken from.

Positions are residues of the protein, 0-based, as half-open pairs (start, end). A span is stored as one row; a window
is seen by one forward pass. The last spans of a protein may be short. Its windows are all equally long, so that no
residue is seen with little context.
"""

from __future__ import annotations

from itertools import pairwise

Span = tuple[int, int]


def chunk_spans(length: int, size: int, overlap: int) -> list[Span]:
    """Spans of stored rows: a new one every `size - overlap` residues, the last ones cut at the end.

    There are ceil(length / (size - overlap)) of them, including a last one that lies inside the span before it. Raises
    ValueError when overlap >= size, since no span would then begin after the first.

    >>> chunk_spans(10, size=6, overlap=3)
    [(0, 6), (3, 9), (6, 10), (9, 10)]
    """
    if not 0 <= overlap < size:
        raise ValueError(f"overlap {overlap} must be at least 0 and below size {size}")
    return [(start, min(start + size, length)) for start in range(0, length, size - overlap)]


def forward_windows(length: int, max_residues: int | None, overlap: int) -> list[Span]:
    """Windows of forward passes: as few as possible, equally long, evenly spaced.

    Neighbours share at least `overlap` residues. A protein of at most `max_residues` (None: no limit) has one window,
    a protein of no residues none. Raises ValueError when overlap >= max_residues.

    >>> forward_windows(2000, max_residues=1022, overlap=256)
    [(0, 838), (581, 1419), (1162, 2000)]
    >>> forward_windows(300, max_residues=1022, overlap=256)
    [(0, 300)]
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
    """Assign every residue to exactly one window by cutting each overlap in the middle.

    A residue so comes from the window in which it is farthest from an edge. `windows` are those of `forward_windows`
    for a protein of `length` residues, equally long. Returns one span for each window.

    >>> owned([(0, 838), (581, 1419), (1162, 2000)], 2000)
    [(0, 709), (709, 1290), (1290, 2000)]
    """
    middles = [(left[1] + right[0]) // 2 for left, right in pairwise(windows)]
    cuts = [0, *middles, length]
    return list(pairwise(cuts)) if windows else []


def _ceil(a: int, b: int) -> int:
    return -(-a // b)
