"""Where the time of a run goes: named stages, one after the other, in seconds since the command was given."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from protea_ray.pictures.store_data import StageTime

START, INPUTS, CHECKPOINT, RAY, INGEST, DELTA = "start", "inputs", "checkpoint", "ray", "ingest", "delta"
CALIBRATION, UNITS, ACTORS, EMBEDDING = "calibration", "units", "actors", "embedding"
ACCOUNTING, VERIFICATION = "accounting", "verification"
_SHORTEST = 0.01  # seconds of START that are worth a row
MEANINGS = {
    START: "Python starts, and this program and Ray are imported",
    INPUTS: "the inputs are listed, and their first bytes looked at",
    CHECKPOINT: "the checkpoint is found, hashed and checked",
    RAY: "Ray is started or joined",
    INGEST: "records are read into the store",
    DELTA: "the proteins that have no vector yet are found",
    CALIBRATION: "the model is timed on this device, or what an earlier run measured is read",
    UNITS: "proteins are cut into units of even cost",
    ACTORS: "actors start, load the model and get their first unit",
    EMBEDDING: "from the first forward pass to the last commit",
    ACCOUNTING: "every record is counted, and where `current` points is settled",
    VERIFICATION: "the new space is verified and judged before an alias moves to it",
}


@dataclass
class Stages:
    """The clock of one run; `began` is when the command was given, in seconds since the epoch.

    What passed between that and the first stage is a stage of its own, START.
    """

    began: float = field(default_factory=time.time)
    clock: Callable[[], float] = time.time
    _done: list[StageTime] = field(default_factory=list)
    _open: tuple[str, float] | None = None

    def enter(self, name: str, at: float | None = None) -> None:
        """End the stage that goes on, if any, and begin another; `at`: seconds since the epoch [now]."""
        moment = self.clock() if at is None else at
        if not self._done and not self._open and moment - self.began >= _SHORTEST:
            self._open = START, self.began
        self.leave(moment)
        self._open = name, moment

    def leave(self, at: float | None = None) -> None:
        """End the stage that goes on, if any."""
        if self._open:
            name, begun = self._open
            moment = max(self.clock() if at is None else at, begun)  # the clocks of two machines differ a little
            self._done.append(StageTime(name, round(begun - self.began, 3), round(moment - begun, 3)))
        self._open = None

    @contextmanager
    def actors_work(self, began: Callable[[], float]) -> Iterator[None]:
        """Time the block as ACTORS until `began()`, and from there to its end, however it ends, as EMBEDDING.

        `began` is asked at the end: the first forward pass, in seconds since the epoch, inf where none came back.
        """
        self.enter(ACTORS)
        try:
            yield
        finally:
            if math.isfinite(began()):
                self.enter(EMBEDDING, began())
            self.leave()

    def times(self) -> tuple[StageTime, ...]:
        """The stages that have ended, in their order."""
        return tuple(self._done)
