"""Where the developer data set lies: beside the repository, or where PROTEA_RAY_SHARED says. It is not committed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"


def shared(name: str) -> Path:
    """Path of a file or folder of the data set; skips the test, and says why, where it is absent."""
    path = Path(os.environ.get("PROTEA_RAY_SHARED", _BESIDE)) / name
    if not path.exists():
        pytest.skip(f"no {path}; set PROTEA_RAY_SHARED to the developer data set")
    return path
