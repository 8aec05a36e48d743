"""A folder in which Ray can make its sockets."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folder() -> Iterator[Path]:
    """One with a short name: a socket's has room for 107 characters, of which Ray takes 64."""
    with tempfile.TemporaryDirectory(prefix="d", ignore_cleanup_errors=True) as name:
        yield Path(name)
