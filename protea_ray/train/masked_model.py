"""An ESM-2 or ESM-C that is trained on packs: the layers and packs that embed proteins, and gradients.

Every number is that of transformers for each protein alone, loss and gradients, within 1e-5 in float32: nothing is
padded, and no protein sees another. What differs from embedding:

| | embedding | training |
|---|---|---|
| weights | mapped from the file, frozen, in the compute dtype | float32, memory of their own |
| half precision | the whole model | autocast: products in half; residual stream, norms and rotation in float32 |
| attention | one opaque operation | one call for each protein; in half on CUDA flash attention |
| head | where logits are asked for | on the masked residues alone, in float32 |

On a CPU attention stays in float32 under autocast: bfloat16 then trains 1.4 to 1.8 times as fast as float32 (4 layers
of 256, one thread). `dropout` acts on what each branch adds to the residual stream. Attention weights are never dropped
out, because flash attention for packs has no dropout.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from protea_ray.config.attention_forms import AttentionVariant
from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.encoder import quantize
from protea_ray.encoder.acceleration import compile_layers
from protea_ray.encoder.attention import Choice, choose
from protea_ray.encoder.transfer import to_device
from protea_ray.errors import EncoderError
from protea_ray.models.checkpoint import read_config
from protea_ray.models.families import recognise
from protea_ray.models.families.base import Family
from protea_ray.models.families.loading import make_trainable

if TYPE_CHECKING:
    from protea_ray.train.masking import MaskedPack


class MaskedModel(nn.Module):
    """A trainable model and its language-model head; `load` makes one, in training mode.

    Parameters have the names that they have in the files of transformers' class for masked language modelling, but
    for a few of ESM-C (`tensors` gives the files' names).
    """

    def __init__(
        self, family: Family, prefix: str, module: nn.Module, head: nn.Module, variant: AttentionVariant
    ) -> None:
        super().__init__()
        self.family, self.prefix, self.variant = family, prefix, variant
        self.add_module(prefix, module)
        self.lm_head = head
        self.dtype = "float32"
        self.kernel = Choice("sdpa", "the default")
        self.checkpointing = False

    @classmethod
    def load(
        cls, directory: Path, *, device: Any, dtype: str, attention: str = "exact", dropout: float = 0.0,
        checkpointing: bool = False, compiled: bool = False,
    ) -> MaskedModel:  # fmt: skip
        """Load the checkpoint in `directory` for training; its head is fresh where the files hold none.

        `dtype` other than float32 means autocast. `checkpointing` keeps the input of each layer alone and computes
        the rest again in the backward pass. Raises CheckpointError for files that cannot be used, EncoderError for a
        family that is not trained here (T5, Ankh).
        """
        directory, place = Path(directory), torch.device(device)
        config = read_config(directory)
        family = recognise(config, directory)
        recipe = EmbeddingConfig.model_validate({"model": str(directory), "dtype": "float32", "attention": attention})
        if family.has_bias or family.head_weight is None or (wanted := family.wanted(config)) is None:
            raise EncoderError(
                f"{directory} is of the family {family.name}, which is not trained here: its position bias has no "
                "gradient in a pack, or it has no head for masked residues. Train an ESM-2 or ESM-C."
            )
        module: Any = quantize.load(family, directory, recipe, place)
        module.contact_head = None  # it gets no gradient
        make_trainable(module)
        head = family.training_head(module, directory)
        family.set_dropout(module, dropout)
        made = cls(family, wanted.prefix, module, head, recipe.variant).train()
        made.dtype, made.checkpointing = dtype, checkpointing
        made.kernel = choose(
            place, dtype, family.has_bias, head_dim=family.shape(config).head_dim, variant=made.variant
        )
        if compiled:
            compile_layers(family.stack(module).layers)
        return made

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def to_device(self, pack: MaskedPack) -> dict[str, Any]:
        """The arguments of `forward` for one pack; on CUDA the copies do not wait."""
        arrays = {"ids": pack.ids, "positions": pack.positions, "cu_seqlens": pack.rows.astype(np.int32)}
        arrays |= {"chosen": pack.chosen, "targets": pack.targets}
        return {name: to_device(array, self.device) for name, array in arrays.items()} | {"rows": pack.rows}

    def forward(
        self, ids: Tensor, positions: Tensor, cu_seqlens: Tensor, rows: np.ndarray, chosen: Tensor, targets: Tensor
    ) -> Tensor:
        """Sum of the losses of one pack in nats, a float32 scalar; arguments as of `losses`.

        A sum and no mean: packs differ in masked residues, and their mean is taken over all packs of a step.
        """
        return self.losses(ids, positions, cu_seqlens, rows, chosen, targets).sum()

    def losses(
        self, ids: Tensor, positions: Tensor, cu_seqlens: Tensor, rows: np.ndarray, chosen: Tensor, targets: Tensor
    ) -> Tensor:
        """Cross-entropy over the whole vocabulary of each masked residue, (m,) float32, in nats.

        `ids` and `positions` are (T,) int64 of one pack, positions from 0 in each protein; `cu_seqlens` (n + 1,) int32
        and `rows`, the same on the host, are the first row of each protein, and T. `chosen` (m,) int64 are the rows
        that are scored and `targets` (m,) int64 the tokens that stood there.
        """
        return F.cross_entropy(self.logits(ids, positions, cu_seqlens, rows, chosen), targets, reduction="none")

    def logits(self, ids: Tensor, positions: Tensor, cu_seqlens: Tensor, rows: np.ndarray, chosen: Tensor) -> Tensor:
        """(m, vocabulary) float32 of the rows `chosen` of one pack; arguments as of `losses`."""
        with self._autocast(ids.device):
            states = self.states(ids, positions, cu_seqlens, rows).index_select(0, chosen)
            states = self.family.stack(self.body).norm(states)
        return self.lm_head(states.float())

    def states(self, ids: Tensor, positions: Tensor, cu_seqlens: Tensor, rows: np.ndarray) -> Tensor:
        """What the last layer returns for one pack, before the final norm, (T, D); arguments as of `losses`."""
        with self._autocast(ids.device):
            return self._residual(ids, positions, cu_seqlens, int(np.diff(rows).max()))

    def tensors(self) -> dict[str, Tensor]:
        """The weights as a checkpoint's file holds them: float32, by the files' names, a tied decoder left out."""
        held: dict[str, Tensor] = {}
        seen: set[int] = set()
        for name, tensor in self.state_dict(keep_vars=True).items():
            if id(tensor) not in seen:
                held[self.family.stored_name(name)] = tensor.detach().float().contiguous()
            seen.add(id(tensor))
        return held

    @property
    def body(self) -> Any:
        """The transformers module without its head."""
        return self.get_submodule(self.prefix)

    def _autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        if self.dtype == "float32":
            return nullcontext()
        return torch.autocast(device.type, dtype=getattr(torch, self.dtype))

    def _residual(self, ids: Tensor, positions: Tensor, cu_seqlens: Tensor, max_len: int) -> Tensor:
        """What the last layer returns, before the final norm, (T, D)."""
        stack = self.family.stack(self.body)
        x, keywords = stack.begin(ids, positions, cu_seqlens)
        keywords |= {"cu_seqlens": cu_seqlens, "max_len": max_len, "variant": self.variant, "kernel": self.kernel.name}
        keywords["certified"] = False  # a model learns to live with its attention
        recompute = self.checkpointing and torch.is_grad_enabled()
        for number, layer in enumerate(stack.layers, 1):
            numbered: dict[str, Any] = {} if self.variant.is_masked_exactly else {"layer_number": number}
            if recompute:
                x = checkpoint(layer, x, use_reentrant=False, attention_mask=None, **keywords, **numbered)
            else:
                x = layer(x, attention_mask=None, **keywords, **numbered)
        return x[0]
