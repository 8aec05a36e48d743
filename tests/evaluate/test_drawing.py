"""Which proteins choose the epoch: whole groups of relatives, about a tenth, drawn by the seed and the fold alone."""

from __future__ import annotations

import numpy as np

from protea_ray.evaluate.drawing import drawn_groups, generator, seed_of, sides
from protea_ray.evaluate.task import CLASSIFICATION
from tests.evaluate.numbered_tasks import halves, made_task


def test_whole_groups_are_drawn() -> None:
    group = np.repeat(np.arange(60), np.arange(60) % 5 + 1)
    fold = np.where(group % 4 == 0, 0, np.where(group % 4 == 1, 1, -1))
    task = made_task(CLASSIFICATION, np.zeros(len(group), np.int64), fold, ("a",), group=group)
    seen = set()
    for seed in range(5):
        side = sides(task, 1, seed, 0.1)
        fitted, chooses = side.fitted, side.chooses
        assert side.drawn
        assert np.array_equal(side.learned, np.flatnonzero(fold != 1))
        assert not set(group[fitted]) & set(group[chooses])
        assert sorted([*fitted, *chooses]) == np.flatnonzero(fold != 1).tolist()
        assert 0.05 < len(chooses) / (len(fitted) + len(chooses)) <= 0.1
        assert np.array_equal(chooses, sides(task, 1, seed, 0.1).chooses)
        seen.add(tuple(chooses))
    assert len(seen) == 5


def test_the_proteins_that_the_file_keeps_choose() -> None:
    validation = np.zeros(40, bool)
    validation[[2, 4, 20]] = True
    task = made_task(CLASSIFICATION, np.zeros(40, np.int64), halves(40), ("a",), validation=validation)
    side = sides(task, 0, 3, 0.1)
    assert side.chooses.tolist() == [2, 4, 20]
    assert not side.drawn
    assert side.learned.tolist() == side.fitted.tolist() == [n for n in range(0, 40, 2) if n not in (2, 4, 20)]


def test_groups_that_are_too_large() -> None:
    """Of two groups the smaller is drawn, of one group members of it, and of one protein none."""
    draw = generator(0)
    assert drawn_groups(np.array([7] * 30 + [8] * 20), 0.1, draw).tolist() == [False] * 30 + [True] * 20
    assert drawn_groups(np.full(50, 7), 0.1, draw).sum() == 5
    assert drawn_groups(np.array([7, 7]), 0.1, draw).sum() == 1
    assert drawn_groups(np.array([7]), 0.1, draw).tolist() == [False]


def test_seeds_are_the_same_everywhere() -> None:
    """As `printf '3\\n0\\nmlp' | sha256sum` gives it: the first 16 digits, halved."""
    import hashlib

    assert seed_of(3, 0, "mlp") == int(hashlib.sha256(b"3\n0\nmlp").hexdigest()[:16], 16) // 2
    assert len({seed_of(3, 0, "mlp"), seed_of(30, "mlp"), seed_of(3, 0, "linear")}) == 3
