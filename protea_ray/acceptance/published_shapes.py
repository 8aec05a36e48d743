"""Models whose speed is measured: real shapes, random weights, because weights are large and speed is not in them.

A shape may be cut in depth: all layers of an encoder cost the same, and two of them show a rate per layer that thirty
would. Every record says how many of how many were run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from protea_ray.testing.random_checkpoint import build

PARAMETERS = 40e6  # of the layers that are run on a CPU; more would not change the rate of one


@dataclass(frozen=True)
class Model:
    """A published shape. `parameters` are those of one layer."""

    name: str
    family: str
    layers: int
    hidden: int
    heads: int
    parameters: float
    config: dict[str, Any] = field(default_factory=dict)

    def depth(self, full: bool) -> int:
        """How many layers are run: all, or as many as PARAMETERS allow, at least two."""
        return self.layers if full else min(self.layers, max(2, int(PARAMETERS / self.parameters)))

    def write(self, folder: Path, full: bool, device: str = "cpu") -> Path:
        """A checkpoint directory with random weights, drawn on `device`."""
        depth = self.depth(full)
        place = folder / f"{self.name}-{depth}"
        if not place.exists():
            build(self.family, place, layers=depth, hidden=self.hidden, heads=self.heads, device=device,
                  **self.config)  # fmt: skip
        return place


def _esm2(name: str, layers: int, hidden: int, heads: int = 20) -> Model:
    return Model(f"ESM-2 {name}", "esm2", layers, hidden, heads, 12 * hidden**2)


def _esmc(name: str, layers: int, hidden: int, heads: int, ffn: int) -> Model:
    return Model(f"ESM-C {name}", "esmc", layers, hidden, heads, 4 * hidden**2 + 3 * hidden * ffn)


MODELS = {
    "8M": _esm2("8M", 6, 320),
    "35M": _esm2("35M", 12, 480),
    "150M": _esm2("150M", 30, 640),
    "650M": _esm2("650M", 33, 1280),
    "esmc-300M": _esmc("300M", 30, 960, 15, 2560),
    "esmc-600M": _esmc("600M", 36, 1152, 18, 3072),
    "prott5-xl": Model(
        "ProtT5-XL", "t5", 24, 1024, 32, 4 * 1024 * 4096 + 2 * 1024 * 16384, {"d_kv": 128, "d_ff": 16384}
    ),
    "ankh-base": Model("Ankh-base", "ankh", 48, 768, 12, 4 * 768**2 + 3 * 768 * 3072),
}
