"""The policy of a run as discrete events, for clusters that no test machine can pretend to be.

Units go out in the order of the plan, each to an actor with fewer than `queued` of them. One driver sends units and
takes results, one after the other; an actor computes one unit at a time while it writes the one before. Figures of
the driver and the latencies come from a run of benchmarks/cluster/simulate.py, where the model is held against what
happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush

import numpy as np

from benchmarks.cluster.schedule import Schedule


@dataclass(frozen=True)
class Policy:
    """Seconds, but for `queued` and `calls` (units at one actor, and those it holds in hand) and `failure`.

    `driver`: of one unit, from its result to the next one sent; the driver does nothing else meanwhile. `latency`:
    one way between driver and actor. `write`: what an actor needs for a unit beside computing it. `commit`: of each
    group of `commit_units`, in which no result is taken. `failure`: the share of units that kill their actor half
    way, which is back after `restart`.
    """

    queued: int = 3
    calls: int = 2
    driver: float = 0.01
    latency: float = 0.005
    write: float = 0.0
    commit: float = 0.0
    commit_units: int = 64
    failure: float = 0.0
    restart: float = 30.0


@dataclass(frozen=True)
class Outcome:
    """What is foretold; `driver_seconds` is the time in which the driver was busy."""

    schedule: Schedule
    driver_seconds: float

    @property
    def driver_cores(self) -> float:
        """Share of the time in which the driver was busy; 1 when it is what all wait for."""
        return self.driver_seconds / self.schedule.seconds


def play(costs: np.ndarray, ready: np.ndarray, policy: Policy, seed: int = 0) -> Outcome:
    """Units of these costs (m,), in this order, on actors that become ready (n,) then. About 3 us a unit.

    A free place at an actor is an event: it goes to the driver, which fills it with the next unit. Places of actors
    that are ready at the same time are filled in turns, as Ray Data does, which prefers the actor with fewest units.
    """
    units = len(costs)
    began, ended = np.zeros(units), np.zeros(units)
    lost = np.random.default_rng(seed).random(units) < policy.failure
    free = ready.astype(float).tolist()  # when each actor has computed what it has
    written = [[moment] * policy.calls for moment in free]  # when its last calls ended, oldest first
    places = [(moment, turn, actor) for actor, moment in enumerate(free) for turn in range(policy.queued)]
    heapify(places)
    driver = busy = 0.0
    for unit, cost in enumerate(costs.tolist()):
        moment, _, actor = heappop(places)
        seconds = policy.driver + (policy.commit if (unit + 1) % policy.commit_units == 0 else 0.0)
        driver = max(driver, moment + policy.latency) + seconds
        busy += seconds
        calls = written[actor]
        start = max(driver + policy.latency, free[actor], calls.pop(0))
        if lost[unit]:
            start += cost / 2 + policy.restart
        free[actor] = start + cost
        began[unit], ended[unit] = start, free[actor]
        calls.append(max(free[actor] + policy.write, calls[-1] if calls else 0.0))
        heappush(places, (calls[-1], policy.queued, actor))
    return Outcome(Schedule(ready, began, ended, costs), busy)
