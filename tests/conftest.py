"""Fixtures that several floors share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from protea_ray.testing import random_checkpoint as checkpoints

# a deadline measures the machine: 200 ms passed on a busy one while the code was the same
settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")


@pytest.fixture(scope="session")
def esm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random ESM-2 checkpoint with the real vocabulary."""
    return checkpoints.build("esm2", tmp_path_factory.mktemp("models") / "esm2-small", layers=3, hidden=32)


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """One local Ray cluster for all tests of a session that run the pipeline in this process."""
    import ray

    from protea_ray.config.run import RunOptions
    from protea_ray.pipeline.cluster import connect

    connect(RunOptions())
    yield
    ray.shutdown()
