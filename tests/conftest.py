"""Fixtures that several folders share, and how tests are dealt to two processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from protea_ray.config.cache import CACHE_VARIABLE
from protea_ray.testing import random_checkpoint as checkpoints

if TYPE_CHECKING:
    from tests.recorded_metrics import RecordedMetrics

# tests compare float32 numbers of a CPU, and `auto` would take a GPU; what a GPU does is checked by `make gpu`
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
# the test runner sets COLUMNS for its workers, and commands print as narrow as it says
for _name in ("COLUMNS", "LINES"):
    os.environ.pop(_name, None)

# a deadline measures the machine: 200 ms passed on a busy one while the code was the same
settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `-n 2`: every test on the shared Ray cluster goes to one process, all else stays together by file.

    The chaos suite deals its own tests: each has clusters of its own.
    """
    for item in items:
        if "chaos" in item.path.parts:
            continue
        on_cluster = "cluster" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("ray" if on_cluster else item.nodeid.split("::")[0]))


@pytest.fixture(scope="session", autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A home and a cache directory for the tests alone: they neither read nor write those of the person."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv(CACHE_VARIABLE, str(home / "cache"))
        yield


@pytest.fixture(scope="session")
def esm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random ESM-2 checkpoint with the real vocabulary."""
    return checkpoints.build("esm2", tmp_path_factory.mktemp("models") / "esm2-small", layers=3, hidden=32)


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """One local Ray cluster for all tests of a session that run the pipeline in this process."""
    import ray

    from protea_ray.cluster.connect import connect
    from protea_ray.config.run import RunOptions

    connect(RunOptions())
    yield
    ray.shutdown()


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> RecordedMetrics:
    """What this process records as Ray metrics; none of it reaches Ray."""
    from tests.recorded_metrics import kept

    return kept(monkeypatch)


@pytest.fixture(scope="module", params=["toy", pytest.param("real", marks=pytest.mark.slow)])
def spec(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """What actors load: an encoder without a model in `make test`, and in `make check` the real one as well.

    Of module scope: pytest groups tests by the parameters of wider fixtures, and would set up modules twice.
    """
    from protea_ray.pipeline.worker import EncoderSpec
    from tests.toy import ToySpec

    return {"toy": ToySpec, "real": EncoderSpec}[request.param]
