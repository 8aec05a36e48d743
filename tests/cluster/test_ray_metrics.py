"""The table of metrics, and what reaches Ray of what is recorded."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from protea_ray.cluster import ray_metrics
from protea_ray.cluster.ray_metrics import GROUPS, METRICS, RECORDS, RUNNING, UNIT_SECONDS, Recorder

BOUNDED = {"run", "family", "space", "outcome", "reason", "stage"}
SUFFIX = {"seconds": "_seconds", "bytes": "_bytes"}


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """No metric of another test is kept, and none of these for others."""
    ray_metrics._made.cache_clear()
    yield
    ray_metrics._made.cache_clear()


def test_names_are_prometheus_names_and_each_is_there_once() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names) > 30
    assert all(re.fullmatch(r"protea_[a-z_]*[a-z]", name) for name in names)
    assert not [name for name in names if name.endswith(("_total", "_count", "_sum", "_bucket"))]  # Ray's own endings


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_says_what_it_is(metric: ray_metrics.Metric) -> None:
    assert metric.group in GROUPS
    assert metric.tags[0] == "run" and set(metric.tags) <= BOUNDED
    assert metric.name.endswith(SUFFIX.get(metric.unit, ""))
    assert metric.help and not metric.help.endswith(".") and "|" not in metric.help  # a cell of the page's table
    assert bool(metric.boundaries) == (metric.kind == "histogram")


def test_every_metric_is_recorded_somewhere() -> None:
    """A name of the table that no code uses would be an empty panel for ever."""
    from pathlib import Path

    import protea_ray

    names = {name for name, value in vars(ray_metrics).items() if isinstance(value, ray_metrics.Metric)}
    assert len(names) == len(METRICS)
    own = Path(ray_metrics.__file__)
    code = "\n".join(p.read_text() for p in Path(protea_ray.__file__).parent.rglob("*.py") if p != own)
    assert [name for name in sorted(names) if not re.search(rf"\b(m\.)?{name}\b", code)] == []


def test_without_ray_nothing_is_recorded_and_ray_is_not_imported() -> None:
    code = (
        "import sys; from protea_ray.cluster.ray_metrics import *; from protea_ray.cluster import ray_metrics as m;"
        "r = Recorder(run='r', family='f'); r.add(m.UNITS, 1); r.set(m.RUNNING, 1); r.observe(m.UNIT_SECONDS, 1);"
        "assert 'ray' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class _Fake:
    """Stands for a class of ray.util.metrics; remembers how it was made and what it was given."""

    made: ClassVar[list[_Fake]] = []

    def __init__(self, name: str, description: str, *rest: Any) -> None:
        self.name, self.description, self.rest = name, description, rest
        self.given: list[tuple[float, dict[str, str]]] = []
        _Fake.made.append(self)

    def inc(self, value: float, tags: dict[str, str]) -> None:
        self.given.append((value, tags))

    set = observe = inc


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[_Fake]:
    """The metrics that were made, in a process that has a cluster."""
    import ray.util.metrics

    _Fake.made = []
    for name in ("Counter", "Gauge", "Histogram"):
        monkeypatch.setattr(ray.util.metrics, name, type(name, (_Fake,), {}))
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: True, util=ray.util))
    return _Fake.made


def test_tags_of_a_run_go_to_every_metric_that_has_them(made: list[_Fake]) -> None:
    recorder = Recorder(run="r1", family="esm2")
    recorder.add(RECORDS, 3, space="s", outcome="stored")
    recorder.add(RECORDS, 0, space="s", outcome="rejected")
    recorder.add(RECORDS, 4, space="s", outcome="stored")
    recorder.set(RUNNING, 0)
    recorder.observe(UNIT_SECONDS, 2.5)

    counter, gauge, histogram = made
    tags = {"run": "r1", "family": "esm2", "space": "s", "outcome": "stored"}
    assert (type(counter).__name__, counter.name, counter.given) == ("Counter", RECORDS.name, [(3, tags), (4, tags)])
    assert counter.rest == (("run", "family", "space", "outcome"),)
    assert (type(gauge).__name__, gauge.given) == ("Gauge", [(0, {"run": "r1", "family": "esm2"})])
    assert histogram.rest == (list(UNIT_SECONDS.boundaries), ("run", "family"))
    assert "unit: seconds" in histogram.description


def test_a_tag_that_is_missing_is_an_error(made: list[_Fake]) -> None:
    with pytest.raises(KeyError, match="space"):
        Recorder(run="r1", family="esm2").add(RECORDS, 3, outcome="stored")
