"""The rich store, built once and copied for every test that changes it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from protea_ray.store.location import Location, open_location
from tests.store import rich


@pytest.fixture(scope="session")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Location]:
    """Makes a rich store (see rich.py) in a folder that does not exist yet."""
    original = tmp_path_factory.mktemp("rich") / "store"
    rich.store(original)

    def copy(root: Path) -> Location:
        shutil.copytree(original, root)
        return open_location(root)

    return copy


@pytest.fixture
def rich_location(copies: Callable[[Path], Location], tmp_path: Path) -> Location:
    """A rich store of this test alone."""
    return copies(tmp_path / "rich")
