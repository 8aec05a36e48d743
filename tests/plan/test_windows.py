from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protea_ray.plan.windows import chunk_spans, forward_windows, owned

lengths = st.integers(0, 40_000)


@st.composite
def limits(draw):
    size = draw(st.integers(1, 3000))
    return size, draw(st.integers(0, size - 1))


@pytest.mark.parametrize(
    ("arguments", "spans"),
    [
        ((10, 4, 0), [(0, 4), (4, 8), (8, 10)]),
        ((10, 6, 2), [(0, 6), (4, 10), (8, 10)]),
        ((10, 6, 3), [(0, 6), (3, 9), (6, 10), (9, 10)]),
        ((512, 512, 64), [(0, 512), (448, 512)]),
        ((0, 4, 1), []),
    ],
)
def test_spans_are_the_published_ones(arguments, spans):
    assert chunk_spans(*arguments) == spans


@pytest.mark.parametrize("overlap", [4, 5, -1])
def test_an_overlap_that_never_moves_forward_is_refused(overlap):
    with pytest.raises(ValueError, match=f"overlap {overlap} "):
        chunk_spans(10, 4, overlap)
    with pytest.raises(ValueError, match=f"overlap {overlap} "):
        forward_windows(10, 4, overlap)


@settings(max_examples=200, deadline=None)
@given(length=lengths, limit=limits())
def test_spans_cover_every_residue_and_their_number_is_the_ceiling(length, limit):
    size, overlap = limit
    spans = chunk_spans(length, size, overlap)
    assert len(spans) == -(-length // (size - overlap))
    assert [end for _, end in spans] == [min(start + size, length) for start, _ in spans]
    assert all(right[0] <= left[1] for left, right in pairwise(spans))


@settings(max_examples=200, deadline=None)
@given(length=lengths, limit=limits())
def test_windows_are_balanced_and_share_the_overlap(length, limit):
    size, overlap = limit
    windows = forward_windows(length, size, overlap)
    assert len({end - start for start, end in windows}) <= 1
    assert all(end - start <= size for start, end in windows)
    assert all(left[1] - right[0] >= overlap for left, right in pairwise(windows))
    assert all(left[0] < right[0] for left, right in pairwise(windows))
    if length:
        assert (windows[0][0], windows[-1][1]) == (0, length)


@settings(max_examples=100, deadline=None)
@given(length=st.integers(1, 3000), limit=limits())
def test_each_residue_is_owned_once_by_the_window_where_it_is_deepest(length, limit):
    windows = forward_windows(length, *limit)
    pieces = owned(windows, length)
    taken = [residue for start, end in pieces for residue in range(start, end)]
    assert taken == list(range(length))
    for window, (start, end) in zip(windows, pieces, strict=True):
        for residue in {start, end - 1} if start < end else ():
            deepest = max(min(residue - s, e - 1 - residue) for s, e in windows)
            assert min(residue - window[0], window[1] - 1 - residue) == deepest


def test_short_empty_and_unlimited_proteins():
    assert forward_windows(1022, 1022, 256) == [(0, 1022)]
    assert forward_windows(1023, 1022, 256) == [(0, 640), (383, 1023)]
    assert forward_windows(34_350, None, 256) == [(0, 34_350)]
    assert forward_windows(0, 1022, 256) == []
    assert owned([], 0) == []
