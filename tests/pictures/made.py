"""Values to draw, made by hand."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from protea_ray.pictures.drift_figure import DriftBin, DriftBins
from protea_ray.pictures.map_data import MapColumn, SpaceMap
from protea_ray.pictures.store_data import (
    Flow,
    LengthBin,
    RatePoint,
    RejectGroup,
    RunFacts,
    StageTime,
    StoreFacts,
)

HOSTILE = "<script>alert('&')</script> $x_1$ \x00\n --> \u86cb ]]> \ud800"
WHEN = datetime(2026, 1, 2, tzinfo=UTC)


def run(**fields: object) -> RunFacts:
    """A run that recorded everything that is drawn."""
    values = {
        "run": "r1", "kind": "embed", "finished": WHEN, "seconds": 10.0, "model": "m", "trained": True,
        "device": "cpu", "actors": 2, "residues": 900,
        "flows": (Flow("space", 1_000, 700, 100, 50, 150), Flow("other", 1_000, 0, 0, 0, 1_000)),
        "rate": (RatePoint(2.0, 0.0), RatePoint(4.0, 100.0), RatePoint(5.0, 400.0)),
        "stages": (StageTime("ray", 0.5, 1.5), StageTime("actors", 1.0, 2.0)),
        "packing": None, "peak_memory": {}, "config": {}, "digests": {}, "versions": {},
    }  # fmt: skip
    return RunFacts(**(values | fields))  # type: ignore[arg-type]


def facts(**fields: object) -> StoreFacts:
    """A store with proteins, rejects and one run."""
    values = {
        "uri": "/s", "read": WHEN, "proteins": 9, "residues": 1_900, "longest": 320,
        "lengths": (LengthBin(100, 199, 5), LengthBin(200, 299, 3), LengthBin(300, None, 1)),
        "rejects": (RejectGroup("bad_letter", "", 3, ()), RejectGroup("too_long", "", 1_200, ())),
        "runs": (run(),),
    }  # fmt: skip
    return StoreFacts(**(values | fields))  # type: ignore[arg-type]


def space_map(n: int = 6, **fields: object) -> SpaceMap:
    """A map of n points, with a number of which one is unknown and a class of which one is unknown."""
    lengths = np.linspace(50, 400, n)
    score = np.where(np.arange(n) == 1, np.nan, np.arange(n) / 10)
    kinds = ["" if i == 2 else "ab"[i % 2] for i in range(n)]
    values = {
        "space": "space", "version": 3, "model": "m", "pooling": "mean", "method": "pca", "total": n,
        "ids": [f"P{i}" for i in range(n)], "descriptions": [""] * n,
        "x": np.arange(n, dtype=np.float32), "y": np.arange(n, dtype=np.float32)[::-1] / 2,
        "explained": (0.5, 0.25), "neighbours": None,
        "columns": (MapColumn("length", lengths), MapColumn("score", score), MapColumn("kind", kinds)),
    }  # fmt: skip
    return SpaceMap(**(values | fields))  # type: ignore[arg-type]


def drift(**fields: object) -> DriftBins:
    """Two spaces, compared over two bins of lengths."""
    rows = DriftBin("1-99", 40, 0.9, 0.7, 0.4), DriftBin("100+", 60, 0.95, 0.9, 0.6)
    values = {"a": "one", "b": "two", "k": 10, "chance": 0.1, "whole": DriftBin("all", 100, 0.93, 0.8, 0.5)}
    return DriftBins(**({"bins": rows} | values | fields))  # type: ignore[arg-type]
