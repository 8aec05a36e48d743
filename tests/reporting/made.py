"""Report data made by hand, small and hostile, without a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from protea_ray.pictures.map_data import MapColumn, PointNeighbours, SpaceMap
from protea_ray.pictures.store_data import (
    Flow,
    LengthBin,
    Packing,
    RatePoint,
    RejectExample,
    RejectGroup,
    RunFacts,
    StageTime,
    StoreFacts,
)
from protea_ray.reporting.gather import ReportData, ReportOptions

HOSTILE = (
    "</script><script>document.title='taken'</script>", "<img src=x onerror=document.title='taken'>",
    "a|b 'c' \"d\" &amp;", "\u202egnp.exe", "{{ 7 * 7 }}", "line\nbreak", "<!--", "\ud800 half",
)  # fmt: skip


def run_facts(**changes: Any) -> RunFacts:
    run = RunFacts(
        run="20260101-000000-abcdef", kind="embed", finished=datetime(2026, 1, 1, tzinfo=UTC), seconds=61.0, model="m",
        trained=True, device="cpu", actors=2, residues=1_000, flows=(Flow("s", 12, 7, 1, 3, 1),),
        rate=(RatePoint(1.0, 0.0), RatePoint(2.0, 400.0), RatePoint(3.0, 600.0)),
        stages=(StageTime("ray", 0.0, 1.0), StageTime("embedding", 1.0, 2.0)), packing=Packing(1_000, 1_040, 0, 3),
        peak_memory={"driver": 10**8, "actor": 2 * 10**8},
        config={"recipes": [{"model": "m", "layers": [0]}], "run": {}},
        digests={"model.safetensors": "ab" * 32}, versions={"protea-ray": "0.1.0"},
    )  # fmt: skip
    return replace(run, **changes)


def store_facts(**changes: Any) -> StoreFacts:
    example = RejectExample(HOSTILE[0], "https://example.org/a.fasta", 7, HOSTILE[1])
    facts = StoreFacts(
        uri="/data/store", read=datetime(2026, 1, 2, tzinfo=UTC), proteins=12, residues=1_200,
        lengths=(LengthBin(1, 99, 5), LengthBin(100, 199, 7)), longest=150,
        rejects=(RejectGroup("illegal_letter", "a letter is none", 3, (example,)),), runs=(run_facts(),),
    )  # fmt: skip
    return replace(facts, **changes)


def space_map(ids: Sequence[str], descriptions: Sequence[str] | None = None, **changes: Any) -> SpaceMap:
    """Points on a circle; the neighbours of each are the next ones around it."""
    n = len(ids)
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    k = min(3, max(n - 1, 0))
    near = PointNeighbours(
        np.array([[(i + j + 1) % n for j in range(k)] for i in range(n)], np.int32).reshape(n, k),
        np.array([[0.9 - 0.1 * j for j in range(k)] for _ in range(n)], np.float32).reshape(n, k),
        1.0,
    )
    columns = (
        MapColumn("length", np.arange(50.0, 50.0 + n)),
        MapColumn("family", [("even", "odd")[i % 2] for i in range(n)]),
    )
    shown = SpaceMap(
        space="s", version=3, model="m", pooling="mean", method="pca", total=n, ids=list(ids),
        descriptions=list(descriptions or [f"protein {i}" for i in range(n)]), x=np.cos(angle).astype(np.float32),
        y=np.sin(angle).astype(np.float32), explained=(0.5, 0.25), columns=columns, neighbours=near,
    )  # fmt: skip
    return replace(shown, **changes)


def report_data(shown: SpaceMap | None = None, facts: StoreFacts | None = None, **changes: Any) -> ReportData:
    status: Any = SimpleNamespace(
        space_rows=lambda: [("s", "m", "12", "mean 4 x float16", "", "2026-01-01", "current")]
    )
    data = ReportData(
        options=ReportOptions(), facts=facts or store_facts(), status=status, space_map=shown,
        without_map="" if shown else "There is no map.", drift=None, without_drift="", evaluations=None,
    )  # fmt: skip
    return replace(data, **changes)


def written(folder: Path, data: ReportData) -> Path:
    """The page in a file."""
    from protea_ray.reporting.page import page

    path = folder / "report.html"
    path.write_bytes(page(data).encode("utf-8", "replace"))
    return path
