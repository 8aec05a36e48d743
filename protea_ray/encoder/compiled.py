"""torch.compile of the layers, where it pays.

On a GPU eager layers spend more time between the matrix products than in them (counted traffic for ESM-2 650M in
bfloat16: 116 ns a token and layer against 61), and compiled ones fuse what lies between. On a CPU there is nothing to
gain once GELU is one kernel (ESM-2 8M: 0.98 in float32, 1.01 in bfloat16), except for int8, which is 1.4 times as fast
compiled. Attention is an opaque op to the compiler, so one graph serves all layers and every pack.

The first use costs 10 to 24 s, later processes of the same machine 3 s: the code is kept in the cache directory.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from protea_ray.encoder.attention import Choice
from protea_ray.errors import EncoderError
from protea_ray.models.untrained import cache_directory

ON, OFF = "compiled", "eager"


def choose(device: Any, kernel: str, quantization: str | None = None, asked: str = "auto") -> Choice:
    """Whether to compile for a device, an attention kernel and a quantisation; `asked` is auto, on or off.

    Raises EncoderError when compiling was asked for and no compiler is there.
    """
    kind = str(device).split(":")[0]
    if asked == "off":
        return Choice(OFF, "asked for")
    missing = _missing(kind)
    if asked == "on":
        if missing:
            raise EncoderError(f"compile: {missing}; install it, or leave compile at auto")
        return Choice(ON, "asked for")
    if kind != "cuda" and quantization == "int8":
        return Choice(OFF, "compile on makes int8 1.4 times as fast, after half a minute of compiling once")
    if kind != "cuda":
        return Choice(OFF, "a CPU gains nothing")
    if missing:
        return Choice(OFF, missing)
    if kernel == "flex":
        return Choice(OFF, "flex compiles itself")
    return Choice(ON, "fuses what lies between the matrix products")


def compile_layers(layers: Sequence[Any]) -> None:
    """Compile every layer in place; the work is done at the first pack, once for all of them."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_directory() / "compiled"))
    for layer in layers:
        layer.compile(dynamic=True)


def _missing(kind: str) -> str | None:
    """What a compiler for this device needs and this machine lacks."""
    if kind == "cuda":
        return None if find_spec("triton") else "there is no triton here, which compiles for a GPU"
    name = os.environ.get("CXX", "g++")
    return None if shutil.which(name) else f"there is no {name} here, which compiles for a CPU"
