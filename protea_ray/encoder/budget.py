"""How many tokens one pack may have: by the cache on a CPU, by free memory on a GPU, and then tried once.

A calibration runs packs of the whole budget before a run starts. Where a GPU has no room for them, the encoder halves
the budget then and not during the run. The times of short and of long proteins give the cost model its two terms.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from protea_ray.config.attention_forms import EXACT, AttentionVariant
from protea_ray.config.recipe import AlphabetName
from protea_ray.encoder.canary import Embeds, spelt
from protea_ray.models.families.base import Shape

if TYPE_CHECKING:
    import torch

CPU_TOKENS = (
    1536  # 512, 1,024, 1,536, 2,048, 3,072: 3678, 3818, 3890, 3869, 3886 residues/s (8M); 35M alike from 1,024 on
)
MOST_TOKENS = 65_536  # past this a GPU gains nothing, and the first result comes later
STEP = 1024
SHARE = 0.6  # of the free memory: the rest is for copies under way and what the allocator cannot use
SHORT, LONG = 126, 1022  # residues
PATIENCE = 10.0  # seconds a calibration may take
_LETTERS = np.frombuffer(b"LAGVESIKRDTPNQFYMHCW", dtype=np.uint8)


class Budgeted(Embeds, Protocol):
    """The part of an encoder that is used here."""

    token_budget: int


def default_budget(
    place: torch.device, shape: Shape, itemsize: int, kept: int, variant: AttentionVariant = EXACT
) -> int:
    """Tokens of one pack on `place` once the weights are loaded. Other arguments: see `bytes_of_token`."""
    if place.type != "cuda":
        return CPU_TOKENS
    import torch

    free, _ = torch.cuda.mem_get_info(place)
    return tokens_that_fit(free, bytes_of_token(shape, itemsize, kept, variant))


def bytes_of_token(shape: Shape, itemsize: int, kept: int, variant: AttentionVariant = EXACT) -> int:
    """Bytes that one token takes at the worst moment of a layer, in the compute dtype of `itemsize` bytes.

    A layer holds the stream, its norm and the residual throughout. It also holds the inner tensors of the feed-forward
    part, or six tensors of attention: query, key, value, rotated query, rotated key, output. `kept` is the width of
    the float32 rows that recipes keep; they exist twice while they are reduced. What `variant` needs beside that is
    for a pack of one protein: query, key, value and output in float32, and features before and after exp.
    """
    inner = (3 if shape.gated else 2) * shape.ffn
    attention = itemsize * 6 * shape.heads * shape.head_dim
    if not variant.is_masked_exactly:
        attention += 4 * (4 * shape.heads * shape.head_dim + _features(variant, shape))
    return max(itemsize * inner, attention) + itemsize * 3 * shape.hidden + 2 * 4 * kept


def _features(variant: AttentionVariant, shape: Shape) -> int:
    """Features of one token, query and key, before and after exp: of one head for favor, of all for hedgehog."""
    if variant.kind == "favor":
        return 4 * variant.numbers[0]
    return 4 * shape.heads * 2 * shape.head_dim if variant.kind == "hedgehog" else 0


def tokens_that_fit(free: int, each: int) -> int:
    """Whole steps of tokens of `each` bytes in a share of `free` bytes; at least one step, at most MOST_TOKENS."""
    return min(MOST_TOKENS, max(STEP, int(free * SHARE / each) // STEP * STEP))


@dataclass(frozen=True)
class Timing:
    """One measurement: the lengths in residues (n,) of the proteins that were embedded, and their seconds together."""

    residues: np.ndarray
    seconds: float


def time_packs(
    encoder: Budgeted, longest: int | None, patience: float = PATIENCE, alphabet: AlphabetName = "aa"
) -> list[Timing]:
    """Time packs of short and of long proteins under the whole budget, or one short protein where packs are too slow.

    `longest` is the recipe's longest window in residues. Packs are too slow when four of them would take more than
    `patience` seconds. Afterwards the encoder is warm, and packs of its token budget have fitted into memory.
    """
    short = min(SHORT, longest or SHORT)
    first = _timing(encoder, short, 1, alphabet)
    if 4 * first.seconds * encoder.token_budget / short > patience:
        return [first]
    lengths = sorted({short, min(LONG, longest or LONG)})
    return [_fastest(encoder, length, alphabet) for length in lengths]


def _fastest(encoder: Budgeted, length: int, alphabet: AlphabetName) -> Timing:
    """The faster of two timings: the first may run out of memory, or prepare kernels for a new shape."""
    count = max(1, encoder.token_budget // (length + 2))
    timings = [_timing(encoder, length, count, alphabet) for _ in range(2)]
    return min(timings, key=lambda t: t.seconds / len(t.residues))


def _timing(encoder: Budgeted, length: int, count: int, alphabet: AlphabetName) -> Timing:
    letters = np.random.default_rng(0).choice(_LETTERS, (count, length))
    sequences = [spelt(row.tobytes().decode("ascii"), alphabet) for row in letters]
    started = time.perf_counter()
    for _ in encoder.embed(sequences):
        pass
    return Timing(np.full(count, length), time.perf_counter() - started)
