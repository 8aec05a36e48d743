"""Residues per second over the time of a run, in as few points however long the run.

Each unit says when its forward passes began and how long they took; its residues are spread evenly over that time. The
intervals all have one width, which doubles whenever there would be more than MOST of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from protea_ray.pictures.store_data import RatePoint

MOST = 120  # intervals: 5 kB of JSON in the run's row
_NARROWEST = 1.0  # seconds


@dataclass
class Timeline:
    """Counts residues by interval of `width` seconds, from the first forward pass, `began` (seconds since the epoch).

    Units may come in any order; one that began earlier than all before it moves the beginning.
    """

    began: float = 0.0
    width: float = _NARROWEST
    ended: float = 0.0
    residues: list[float] = field(default_factory=list)

    def add(self, began: float, seconds: float, residues: int) -> None:
        """Count one unit whose forward passes took `seconds` from `began` (seconds since the epoch)."""
        if not self.residues:
            self.began, self.ended = began, began
        if began < self.began:
            self._begin_at(began)
        self.ended = max(self.ended, began + seconds)
        while self.ended - self.began > self.width * MOST:
            self._widen()
        self._spread(began - self.began, seconds, residues)

    def points(self, since: float) -> tuple[RatePoint, ...]:
        """The rate in each interval, with its end in seconds after `since`; before them the beginning, at rate 0."""
        if not self.residues:
            return ()
        found = [RatePoint(round(self.began - since, 6), 0.0)]
        for index, residues in enumerate(self.residues):
            begins = self.began + index * self.width
            ends = min(begins + self.width, self.ended)
            if ends > begins:
                found.append(RatePoint(round(ends - since, 6), round(residues / (ends - begins), 1)))
        return tuple(found)

    def _begin_at(self, began: float) -> None:
        """Move the beginning back by whole intervals."""
        more = int(-((began - self.began) // self.width))
        self.residues[:0] = [0.0] * more
        self.began -= more * self.width

    def _widen(self) -> None:
        """Join neighbours, so that each interval is twice as wide."""
        pairs = [self.residues[i : i + 2] for i in range(0, len(self.residues), 2)]
        self.residues = [sum(pair) for pair in pairs]
        self.width *= 2

    def _spread(self, begins: float, seconds: float, residues: int) -> None:
        """Add residues to the intervals in proportion to the time that each shares with the unit."""
        ends = begins + seconds
        first, last = int(begins // self.width), int(max(begins, ends - 1e-9) // self.width)
        self.residues.extend([0.0] * (last + 1 - len(self.residues)))
        if last == first:
            self.residues[first] += residues
            return
        for index in range(first, last + 1):
            share = min(ends, (index + 1) * self.width) - max(begins, index * self.width)
            self.residues[index] += residues * share / seconds
