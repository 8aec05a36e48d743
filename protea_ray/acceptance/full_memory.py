"""Out of memory for real: the card is filled except a little, then proteins are embedded under too large a budget.

On a CPU, which swaps instead, the encoder's own forward pass is replaced by one that refuses large packs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from protea_ray.acceptance.difference import difference, packed_states
from protea_ray.acceptance.numbers import FLOAT32, NARROW
from protea_ray.acceptance.verdicts import AcceptanceReport, Measured
from protea_ray.acceptance.ways import load_encoder
from protea_ray.encoder.encoder import Encoder
from protea_ray.encoder.forward import Core
from protea_ray.testing.random_checkpoint import build

PART = "memory"
SHAPE = {"layers": 4, "hidden": 1280, "heads": 20}
LEFT = 1 << 30  # bytes of the card that stay free; a pack of TOO_MUCH tokens needs 3.7 GB in float32
TOO_MUCH = 65_536  # tokens of one pack
CALM = 4096  # tokens of a pack that fits
PIECE = 1 << 28  # the filling is taken in pieces, because free memory need not be in one
REFUSED = 256  # tokens, of the stand-in on a CPU


def check(report: AcceptanceReport, device: str, proteins: Sequence[str], scratch: Path, seconds: float) -> None:
    """Add the lines of this part: the budget halves, nothing is lost, the numbers stay."""
    report.start(seconds)
    name = "the card filled except 1 GiB" if device == "cuda" else "a stand-in that refuses packs of 256 tokens"
    report.run(PART, name, lambda: _measure(device, proteins, scratch))


def _measure(device: str, proteins: Sequence[str], scratch: Path) -> dict[str, Measured]:
    directory = build("esm2", scratch / "memory", device=device, **(SHAPE if device == "cuda" else NARROW["esm2"]))
    encoder = load_encoder(directory, device, dtype="float32", compiled="off", token_budget=CALM, pooling=["none"])
    expected = packed_states(encoder, proteins)
    with _filled() if device == "cuda" else _refusing(encoder) as held:
        tight = replace(held or encoder, token_budget=TOO_MUCH)
        before = tight.stats.out_of_memory
        found = packed_states(tight, proteins)
        halvings = tight.stats.out_of_memory - before
    compared = difference(found, expected)
    missing = sum(x is None for x in found)
    return {
        "halvings": Measured(
            halvings, 1, at_least=True, message=f"budget {TOO_MUCH:,} to {tight.token_budget:,} tokens"
        ),
        "proteins lost": Measured(missing, 0, message=f"of {len(proteins)}"),
        "difference from enough memory": Measured(compared.worst, FLOAT32, more=asdict(compared)),
    }


@contextmanager
def _filled() -> Iterator[None]:
    """Hold all of the device's free memory but LEFT bytes."""
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    pieces = [torch.empty(PIECE, dtype=torch.uint8, device="cuda") for _ in range(max(0, free - LEFT) // PIECE)]
    try:
        yield None
    finally:
        pieces.clear()
        torch.cuda.empty_cache()


@contextmanager
def _refusing(encoder: Encoder) -> Iterator[Encoder]:
    """The encoder with a forward pass that has no memory for more than REFUSED tokens in several proteins."""

    class Refusing(Core):
        def states(self, pack: Any, *more: Any, **named: Any) -> Any:
            if pack.tokens > REFUSED and len(pack.rows) > 2:
                raise torch.OutOfMemoryError(f"{pack.tokens} tokens")
            return super().states(pack, *more, **named)

    core = encoder.core
    yield replace(encoder, core=Refusing(core.stack, core.choice, core.variant, core.device, core.head))
