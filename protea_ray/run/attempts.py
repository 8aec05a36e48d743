"""How often a unit was tried, and which protein was in hand when a worker died.

Ray Data retries a unit whose worker died for ever. This small actor remembers: from the third attempt on a unit is
embedded one protein at a time, each announced before its forward pass, and a protein that was in hand when a
worker died twice is set aside. Twice, because a machine that is lost takes innocent proteins with it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import ray

from protea_ray.run.cluster import remote

CAREFUL_FROM = 3  # attempts 1 and 2 run at full speed: most deaths are the machine's, not the protein's
DEATHS_TO_REJECT = 2


@dataclass(frozen=True)
class Attempt:
    """One try at a unit. `culprits` maps a key to how often a worker died with it in hand."""

    number: int
    careful: bool
    culprits: dict[bytes, int]


class AttemptLog:
    """Counts per unit; runs as one actor without CPU, restarted empty if its node is lost."""

    def __init__(self) -> None:
        self._tries: Counter[str] = Counter()
        self._in_hand: dict[str, bytes] = {}
        self._deaths: dict[str, Counter[bytes]] = {}

    def begin(self, unit: str) -> Attempt:
        """Count one more try; a protein still in hand from the try before has seen a worker die."""
        self._tries[unit] += 1
        deaths = self._deaths.setdefault(unit, Counter())
        if (key := self._in_hand.pop(unit, None)) is not None:
            deaths[key] += 1
        culprits = {key: count for key, count in deaths.items() if count >= DEATHS_TO_REJECT}
        return Attempt(self._tries[unit], self._tries[unit] >= CAREFUL_FROM, culprits)

    def hold(self, unit: str, key: bytes) -> None:
        """This protein's forward pass starts now."""
        self._in_hand[unit] = key

    def put_down(self, unit: str) -> None:
        """No protein of this unit is in hand: from here on the worker dies of something else."""
        self._in_hand.pop(unit, None)

    def finish(self, unit: str) -> None:
        """The unit is done; forget it, so that memory follows the units in flight and not those of the run."""
        for memory in (self._tries, self._in_hand, self._deaths):
            memory.pop(unit, None)


def start_attempt_log(run: str) -> str:
    """Start the log of one run; returns the actor's name, by which workers find it after a restart."""
    name = f"protea-ray-attempts-{run}"
    handle = remote(AttemptLog, name=name, num_cpus=0, max_restarts=-1, max_task_retries=-1).remote()
    _ALIVE[name] = handle
    return name


def stop_attempt_log(name: str) -> None:
    """End the log with its run."""
    if handle := _ALIVE.pop(name, None):
        ray.kill(handle)


_ALIVE: dict[str, Any] = {}  # a named actor lives as long as a handle of its creator
