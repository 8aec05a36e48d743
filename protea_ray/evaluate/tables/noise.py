"""Where the range from random vectors to the best input is noise: differences within it say nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from protea_ray.evaluate.inputs import RANDOM
from protea_ray.evaluate.tables.chosen_controls import random_for
from protea_ray.evaluate.tables.estimates import Estimate, Estimates, TaskFacts

ENOUGH_SD = 3.0  # standard deviations between random vectors and the best input, below which the range is noise


@dataclass(frozen=True)
class NoiseWarning:
    """A task and a probe for which the range from random vectors to the best input is noise.

    `sd_known` False: there is one seed, so nobody can tell.
    """

    task: str
    probe: str
    best: str
    sd_known: bool

    def __str__(self) -> str:
        if not self.sd_known:
            return f"{self.task}, {self.probe}: one seed, so whether {self.best} is above noise cannot be told"
        return (
            f"{self.task}, {self.probe}: {self.best}, the best, is less than {ENOUGH_SD:g} standard deviations above "
            "random vectors; differences between inputs are noise there"
        )


def is_noise(best: Estimate, random: Estimate) -> bool | None:
    """Whether the best input is less than 3 standard deviations above random vectors; None of a single seed.

    The standard deviation is the larger one of the two, over seeds. Above random by nothing is noise in any case.
    """
    gap = best.value - random.value
    if gap <= 0:
        return True
    if best.sd is None or random.sd is None:
        return None
    return gap < ENOUGH_SD * max(best.sd, random.sd)


def noise_warnings(found: Estimates) -> tuple[NoiseWarning, ...]:
    """Every task and probe with random vectors whose range, in the headline metric, is noise or may be."""
    return tuple(w for task in found.tasks for probe in found.probes for w in _warnings(found, task, probe))


def _warnings(found: Estimates, task: TaskFacts, probe: str) -> Iterator[NoiseWarning]:
    """None or one: the best input that is not random, against the random vectors of its width."""
    there = [given for given in found.of_task(task) if given.control != RANDOM]
    figures = [(given, reached) for given in there if (reached := found.find(task, given, probe))]
    if not figures:
        return
    best, reached = max(figures, key=lambda figure: figure[1].value)
    randoms = [random for control in random_for(found, task, best) if (random := found.find(task, control, probe))]
    zero = max(randoms, key=lambda random: random.value, default=None)
    noise = is_noise(reached, zero) if zero is not None else False
    if noise is not False:
        yield NoiseWarning(task.name, probe, best.name, noise is not None)
