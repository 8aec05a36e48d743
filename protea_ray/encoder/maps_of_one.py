"""What else a loaded encoder can say about a protein: logits, attention maps, ESM-2's contact map.

Logits cost one more matrix product for each residue. Maps hold heads x L x L numbers a layer, written out because
the fused kernels never form them, and are therefore for short proteins: 84 MB a layer for 20 heads at L = 1,022.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from protea_ray.encoder.collect import Refused
from protea_ray.encoder.encoder import Encoder
from protea_ray.errors import EncoderError

MAX_MAP_RESIDUES = 1022
_WHOLE_LOGITS: dict[str, Any] = {
    "outputs": ("embeddings", "logits"), "layers": (0,), "pooling": ("mean",), "normalize_residues": False,
    "chunk_size": None, "chunk_overlap": 0, "store_dtype": "float32",
}  # fmt: skip


@dataclass(frozen=True)
class Logits:
    """The language model's logits of one protein: `values` is (residues seen, vocabulary) float32."""

    index: int
    values: np.ndarray
    truncated: bool


def logits(encoder: Encoder, sequences: Sequence[str]) -> Iterator[Logits | Refused]:
    """Per-residue logits, one result for each sequence, in any order; long proteins as the first recipe says.

    Columns are token ids of the checkpoint. Raises EncoderError when the checkpoint has no head over residues
    (T5 and Ankh predict with a decoder).
    """
    run = encoder.under([encoder.recipes[0].model_copy(update=_WHOLE_LOGITS)])
    for result in run.embed(sequences):
        if isinstance(result, Refused):
            yield result
        elif result.logits is not None:
            yield Logits(result.index, result.logits[0], result.truncated)


def attention_maps(encoder: Encoder, sequence: str, *, limit: int = MAX_MAP_RESIDUES) -> np.ndarray:
    """Attention weights between residues, (layers, heads, L, L) float32.

    Rows sum to less than 1: what goes to special tokens is left out. Raises EncoderError above `limit` residues
    and for letters that the model does not have.
    """
    maps: list[np.ndarray] = []
    _explicit(encoder, sequence, limit, lambda weights: maps.append(weights.cpu().numpy()))
    return np.stack(maps)


def contact_map(encoder: Encoder, sequence: str, *, limit: int = MAX_MAP_RESIDUES) -> np.ndarray:
    """Probability of contact of each pair of residues, (L, L) float32: ESM-2's logistic regression on attention.

    Rao et al. 2020 (Transformer protein language models are unsupervised structure learners): symmetrised maps,
    average product correction, one weight for each head. Computed layer by layer, so only one layer's maps are
    held. Raises EncoderError where the checkpoint has no contact head, and above `limit` residues.
    """
    head: Any = encoder.core.stack.contacts
    if head is None:
        raise EncoderError(f"{encoder.directory} has no contact head; contact maps need an ESM-2 checkpoint with one")
    layers = iter(head.regression.weight.float().view(len(encoder.core.stack.layers), -1))
    score = head.regression.bias.float().clone()

    def add(weights: Tensor) -> None:
        nonlocal score
        score = score + torch.einsum("h,hij->ij", next(layers), _corrected(weights))

    _explicit(encoder, sequence, limit, add)
    return torch.sigmoid(score).cpu().numpy()


def _corrected(weights: Tensor) -> Tensor:
    """Symmetrised maps (H, L, L) less what rows and columns explain."""
    both = weights + weights.transpose(1, 2)
    rows, columns = both.sum(2, keepdim=True), both.sum(1, keepdim=True)
    return both - rows * columns / both.sum((1, 2), keepdim=True)


def _explicit(encoder: Encoder, sequence: str, limit: int, take: Callable[[Tensor], None]) -> None:
    """One forward pass with written-out attention; `take` gets each layer's (H, L, L) between residues."""
    length, before = len(sequence), len(encoder.alphabet.before)
    if not 0 < length <= limit:
        size = encoder.shape.heads * length**2 * 4 / 1e6
        raise EncoderError(f"maps of {length} residues are refused: 1 to {limit} only ({size:,.0f} MB a layer)")
    ids = encoder.alphabet.residues(sequence)
    if (ids < 0).any():
        raise EncoderError(f"{sequence[:20]!r}... has letters that are not residues of this model")
    with torch.inference_mode():
        pack = encoder.core.pack([encoder.alphabet.window(ids, sequence.islower())])
        inside = slice(before, before + length)
        last = frozenset({len(encoder.core.stack.layers)})
        for _ in encoder.core.states(pack, last, lambda weights: take(weights[:, inside, inside])):
            pass
