"""The layer loop: one pack of windows through transformers' own layers, each wanted state yielded when it is computed.

The loop keeps no state, so the caller decides what stays in memory. It stops after the deepest state that is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from protea_ray.config.attention_forms import AttentionVariant
from protea_ray.encoder.attention import Choice
from protea_ray.encoder.flex import block_mask
from protea_ray.encoder.transfer import to_device
from protea_ray.errors import EncoderError
from protea_ray.models.families.base import Stack
from protea_ray.plan.pack import micro_batches


@dataclass(frozen=True)
class Pack:
    """Windows side by side: `ids` and `positions` (T,) int64 on the device.

    `rows` (n + 1,), on the host, are the first row of each window and T; `cu_seqlens` is the same, int32 on the device.
    """

    ids: Tensor
    positions: Tensor
    cu_seqlens: Tensor
    rows: np.ndarray

    @property
    def tokens(self) -> int:
        """Number of tokens in the pack, special tokens included."""
        return int(self.rows[-1])


@dataclass(frozen=True)
class Core:
    """A loaded encoder on its device: layers, how they attend, and a head for logits if any.

    `certified` False: windows in which an approximate attention is far from the exact one are computed all the same.
    """

    stack: Stack
    choice: Choice
    variant: AttentionVariant
    device: torch.device
    head: Any = None
    certified: bool = True

    def pack(self, windows: Sequence[np.ndarray]) -> Pack:
        """Lay out windows given as token ids; lengths stay on the host, so nothing waits for the device."""
        lengths = [len(ids) for ids in windows]
        rows = np.concatenate([[0], np.cumsum(lengths)])
        positions = np.arange(rows[-1]) - np.repeat(rows[:-1], lengths)
        ids, places, cu = (
            to_device(x, self.device) for x in (np.concatenate(windows), positions, rows.astype(np.int32))
        )
        return Pack(ids, places, cu, rows)

    def states(
        self, pack: Pack, wanted: frozenset[int], record: Callable[[Tensor], None] | None = None
    ) -> Iterator[tuple[int, Tensor]]:
        """Each wanted state with its index, (T, D) in the compute dtype, the shallowest first.

        Indices are those of `hidden_states` in transformers: 0 the embeddings, n the last layer after the final
        norm. `record` gets the explicit attention weights of each layer, for packs of one window. Raises
        ApproximationError when `certified` and an approximate attention is far from the exact one in a window.
        """
        x, keywords = self.stack.begin(pack.ids, pack.positions, pack.cu_seqlens)
        keywords |= self._attention(pack) | {"record": record}
        if 0 in wanted:
            yield 0, x[0]
        last = len(self.stack.layers)
        for index, layer in enumerate(self.stack.layers[: max(wanted)], 1):
            numbered = {} if self.variant.is_masked_exactly else {"layer_number": index}  # else compiled anew for each
            out = layer(x, attention_mask=None, **keywords, **numbered)
            x = out[0] if isinstance(out, tuple) else out  # T5 layers return their bias too
            if index in wanted and index < last:
                yield index, x[0]
        if last in wanted:
            yield last, self.stack.norm(x)[0]

    def in_packs(
        self, windows: Sequence[np.ndarray], budget: int, wanted: frozenset[int],
        keep: Callable[[Tensor], Tensor] = lambda state: state,
    ) -> Iterator[tuple[list[int], Pack, dict[int, Tensor]]]:  # fmt: skip
        """Wanted states of windows given as token ids, in packs of at most `budget` tokens.

        Yields the numbers of the windows of a pack, the pack, and what `keep` makes of each state, as soon as it is
        computed. Raises EncoderError where memory does not hold a pack.
        """
        for members in micro_batches([len(ids) for ids in windows], budget):
            with torch.inference_mode():
                pack = self.pack([windows[i] for i in members])
                try:
                    found = {index: keep(state) for index, state in self.states(pack, wanted)}
                except torch.OutOfMemoryError as error:
                    raise EncoderError(f"memory does not hold a pack of {pack.tokens:,} tokens: {error}") from None
            yield members, pack, found

    def logits(self, state: Tensor) -> Tensor:
        """(T, vocabulary) float32 of last states (T, D), computed in the head's own precision."""
        return self.head(state.to(next(self.head.parameters()).dtype)).float()

    def _attention(self, pack: Pack) -> dict[str, Any]:
        keywords = {
            "cu_seqlens": pack.cu_seqlens, "max_len": int(np.diff(pack.rows).max()), "variant": self.variant,
            "kernel": self.choice.name, "certified": self.certified,
        }  # fmt: skip
        if self.choice.name == "flex":
            keywords["block_mask"] = block_mask(pack.rows, self.variant.window, self.device)
        return keywords
