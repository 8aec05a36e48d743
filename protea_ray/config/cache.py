"""Where the package keeps what it can make again: the untrained model, calibrations, compiled layers."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "PROTEA_RAY_CACHE"


def cache_directory() -> Path:
    """Directory for files that can be made again: `$PROTEA_RAY_CACHE`, else `~/.cache/protea-ray`."""
    return Path(os.environ.get(CACHE_VARIABLE) or "~/.cache/protea-ray").expanduser()
