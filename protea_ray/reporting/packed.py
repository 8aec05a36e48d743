"""Data for the page's script: compressed and in base64, so that nothing in it can end the script element.

Ids and descriptions come from files that somebody else wrote and may hold `</script>`; base64 has none of its letters.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup

Values = np.ndarray | list[Any] | dict[str, Any] | str | int | float | None
_LEVEL = 6  # of gzip: 9 takes four times as long for 1 % less


def packed(data: Mapping[str, Values]) -> Markup:
    """Script elements that hold the data, one for each name; `read` in assets/report.js is the other end.

    Arrays of numbers (float32, int32, uint16) travel as their bytes, little-endian; everything else as JSON.
    """
    return Markup("\n").join(_element(name, value) for name, value in data.items())


def _element(name: str, value: Values) -> Markup:
    if isinstance(value, np.ndarray):
        kind, content = str(value.dtype), np.ascontiguousarray(value.astype(value.dtype.newbyteorder("<"))).tobytes()
    else:
        kind, content = "json", json.dumps(value, allow_nan=False).encode()
    text = base64.b64encode(gzip.compress(content, _LEVEL, mtime=0)).decode()
    return Markup('<script type="application/octet-stream" data-name="{}" data-kind="{}">{}</script>').format(
        name, kind, text
    )
