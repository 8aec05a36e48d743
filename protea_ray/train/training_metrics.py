"""A training's figures as Ray metrics: what rank 0 reports each ten seconds, recorded by the driver.

They are gauges, so a training that goes on from a checkpoint, after a death or in another process, shows where it
stands and not what this process did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from protea_ray.cluster import ray_metrics as m
from protea_ray.cluster.ray_metrics import Metric, Recorder

_PROGRESS: tuple[tuple[str, Metric], ...] = (
    ("step", m.STEP), ("steps", m.STEPS), ("tokens", m.TRAINED), ("loss", m.LOSS), ("gradient_norm", m.GRADIENT),
    ("step_seconds", m.STEP_SECONDS), ("seconds_left", m.TRAINING_LEFT),
)  # fmt: skip
_VALIDATION: tuple[tuple[str, Metric], ...] = (("step", m.STEP), ("steps", m.STEPS), ("loss", m.VALIDATION_LOSS))
_OF_KIND = {"progress": _PROGRESS, "validation": _VALIDATION}


def recorded(report: Callable[[Mapping[str, Any]], None], out: Path) -> Callable[[Mapping[str, Any]], None]:
    """`report`, which gets the events of a training into `out`, and records their figures; the run is named by `out`.

    What an event does not hold, or holds as None, is not recorded.
    """
    recorder = Recorder(run=out.name)

    def both(event: Mapping[str, Any]) -> None:
        for key, metric in _OF_KIND.get(event["kind"], ()):
            if event.get(key) is not None:
                recorder.set(metric, event[key])
        report(event)

    return both
