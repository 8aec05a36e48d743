"""Residues per second over the time of a run: nothing is lost, whatever the order and the length."""

from __future__ import annotations

import itertools
import math
import random
from contextlib import suppress

import pytest

from protea_ray.pictures.store_data import RatePoint
from protea_ray.pipeline.stages import Stages
from protea_ray.pipeline.timeline import MOST, Timeline


def integral(points: tuple[RatePoint, ...]) -> float:
    return sum(b.residues_per_second * (b.seconds - a.seconds) for a, b in itertools.pairwise(points))


def test_a_unit_is_spread_over_the_time_that_it_took() -> None:
    line = Timeline()
    line.add(1000.5, 2.0, 400)
    assert line.points(1000.0) == (RatePoint(0.5, 0.0), RatePoint(1.5, 200.0), RatePoint(2.5, 200.0))


def test_two_actors_at_once_add_up() -> None:
    line = Timeline()
    line.add(0.0, 1.0, 100)
    line.add(0.0, 1.0, 300)
    assert [point.residues_per_second for point in line.points(0.0)] == [0.0, 400.0]


@pytest.mark.parametrize("seed", range(5))
def test_the_points_hold_every_residue_and_stay_few(seed: int) -> None:
    draw = random.Random(seed)
    units = [(draw.uniform(0, 5_000), draw.uniform(0.001, 60.0), draw.randrange(1, 10_000)) for _ in range(700)]
    line = Timeline()
    for began, seconds, residues in units:
        line.add(10_000 + began, seconds, residues)
    points = line.points(10_000)
    assert len(points) <= MOST + 1
    assert integral(points) == pytest.approx(sum(unit[2] for unit in units), rel=1e-3)
    assert points[-1].seconds == pytest.approx(max(began + seconds for began, seconds, _ in units), abs=0.01)
    assert points[0].seconds <= min(began for began, _, _ in units)


def test_nothing_computed_has_no_points() -> None:
    assert Timeline().points(0.0) == ()


def test_a_unit_that_took_no_time_is_counted() -> None:
    line = Timeline()
    line.add(5.0, 0.0, 7)
    line.add(5.0, 1.0, 3)
    assert integral(line.points(0.0)) == pytest.approx(10)


def test_stages_follow_one_another_and_the_last_moment_is_the_end() -> None:
    now = iter([101.0, 104.0, 110.0])
    stages = Stages(100.0, lambda: next(now))
    stages.enter("ray")
    stages.enter("actors")
    stages.enter("embedding", at=107.0)
    stages.leave()
    found = [(stage.name, stage.begins, stage.seconds) for stage in stages.times()]
    assert found == [("start", 0.0, 1.0), ("ray", 1.0, 3.0), ("actors", 4.0, 3.0), ("embedding", 7.0, 3.0)]


def test_a_stage_that_another_clock_begins_earlier_takes_no_negative_time() -> None:
    stages = Stages(105.0, lambda: 105.0)
    stages.enter("actors")
    stages.enter("embedding", at=104.0)
    stages.leave()
    assert [(stage.name, stage.seconds) for stage in stages.times()] == [("actors", 0.0), ("embedding", 1.0)]


@pytest.mark.parametrize(
    ("began", "expected"),
    [(107.0, [("actors", 3.0), ("embedding", 5.0)]), (math.inf, [("actors", 8.0)])],
)
@pytest.mark.parametrize("stopped", [False, True])
def test_actors_start_until_the_first_forward_pass_and_embed_until_they_end_or_are_stopped(
    began: float, expected: list[tuple[str, float]], stopped: bool
) -> None:
    now = iter([104.0, 112.0])
    stages = Stages(104.0, lambda: next(now))
    with suppress(KeyboardInterrupt), stages.actors_work(lambda: began):
        if stopped:
            raise KeyboardInterrupt
    assert [(stage.name, stage.seconds) for stage in stages.times()] == expected
