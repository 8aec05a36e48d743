"""What a test's process records as Ray metrics, kept instead of handed to Ray; the fixture `recorded` has it."""

from __future__ import annotations

from typing import Any

import pytest

from protea_ray.cluster.ray_metrics import Metric, Recorder


class RecordedMetrics:
    """Every value that was recorded: its metric, the value and its tags, in order."""

    def __init__(self) -> None:
        self.values: list[tuple[Metric, float, dict[str, str]]] = []

    def total(self, metric: Metric, **tags: str) -> float:
        """The sum of what was added to a counter under these tags."""
        return sum(value for known, value, of in self.values if known is metric and tags.items() <= of.items())

    def last(self, metric: Metric, **tags: str) -> float:
        """What a gauge was set to last under these tags."""
        return [value for known, value, of in self.values if known is metric and tags.items() <= of.items()][-1]

    def by(self, metric: Metric, tag: str) -> dict[str, float]:
        """The last value for each value of a tag."""
        return {of[tag]: value for known, value, of in self.values if known is metric}


def kept(monkeypatch: pytest.MonkeyPatch) -> RecordedMetrics:
    """From now on what this process records is kept here."""
    found = RecordedMetrics()

    def take(self: Recorder, metric: Metric, value: Any, **tags: str) -> None:
        found.values.append((metric, value, self._of(metric, tags)))

    for name in ("add", "set", "observe"):
        monkeypatch.setattr(Recorder, name, take)
    return found
