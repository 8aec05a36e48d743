"""Figures of a test run, from the JUnit file that `pytest --junitxml FILE` writes."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

SLOWEST = 10


@dataclass(frozen=True)
class Suite:
    """Seconds by folder under tests/, longest first, and the slowest tests with their seconds."""

    tests: int
    seconds: float
    folders: tuple[tuple[str, float], ...]
    slowest: tuple[tuple[str, float], ...]


def read_suite(junit: Path) -> Suite:
    """Add up the test cases of a JUnit file; the time of a case includes its fixtures."""
    cases = [
        (c.get("classname", ""), c.get("name", ""), float(c.get("time", 0))) for c in ET.parse(junit).iter("testcase")
    ]
    folders: dict[str, float] = defaultdict(float)
    for place, _, seconds in cases:
        folders[folder_of(place)] += seconds
    slowest = sorted(((f"{place}::{name}", seconds) for place, name, seconds in cases), key=_seconds)[:SLOWEST]
    total = sum(seconds for _, _, seconds in cases)
    return Suite(len(cases), total, tuple(sorted(folders.items(), key=_seconds)), tuple(slowest))


def folder_of(place: str) -> str:
    """The folder of a test from its dotted module: `tests.store.test_commit` is in `store`."""
    parts = place.split(".")
    return parts[1] if len(parts) > 2 else "(top)"


def _seconds(item: tuple[str, float]) -> float:
    return -item[1]
