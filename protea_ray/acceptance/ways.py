"""The ways to embed that are compared: plain transformers and our encoder.

A way is loaded once and then called with proteins; all of them give the mean of each protein's residues on the host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from protea_ray.config.recipe import embedding_config
from protea_ray.config.resolution import resolve
from protea_ray.encoder.collect import Embedded
from protea_ray.encoder.encoder import Encoder
from protea_ray.models.checkpoint import Checkpoint, open_checkpoint, read_config
from protea_ray.models.families import recognise
from protea_ray.models.families.base import Family

PADDED_BUDGET = {"cpu": 2048, "cuda": 32_768}  # tokens of one padded batch in the sorted baseline
LONGEST = 100_000  # residues of one window: nothing is cut, as in the plain loop

Batches = list[list[str]]
Embed = Callable[[Sequence[str]], dict[str, np.ndarray]]  # mean of the residues by sequence


@dataclass(frozen=True)
class Way:
    """`load` returns what embeds; `batches` says how a padded one groups proteins, None where nothing is padded.

    A peer groups by itself, so its padding is not known.
    """

    name: str
    dtype: str
    load: Callable[[], Embed]
    batches: Callable[[Sequence[str]], Batches] | None = None
    is_peer: bool = False

    def padding(self, sequences: Sequence[str]) -> float | None:
        """Share of the tokens that are padding; None when it is not known."""
        if self.is_peer:
            return None
        if self.batches is None:
            return 0.0
        batches = self.batches(sequences)
        real = sum(len(s) + 2 for batch in batches for s in batch)
        return 1 - real / sum(len(batch) * (max(map(len, batch)) + 2) for batch in batches)


def ways(directory: Path, device: str, dtypes: Sequence[str], sizes: Sequence[int] = (8, 32)) -> Iterator[Way]:
    """All of one checkpoint; the first is what the others are compared with. Padded batches of `sizes` in input order.

    The padded ways are run in the first of `dtypes`, the sorted one and the encoder in each.
    """
    for size in sizes:
        grouped = _in_order(size)
        yield Way(f"transformers, batch of {size}", dtypes[0], _padded(directory, device, dtypes[0], grouped), grouped)
    for dtype in dtypes:
        grouped = _sorted(PADDED_BUDGET[device])
        yield Way(f"transformers, sorted, {dtype}", dtype, _padded(directory, device, dtype, grouped), grouped)
        yield Way(f"protea_ray encoder, {dtype}", dtype, ours(directory, device, dtype))


@cache
def opened(directory: Path) -> Checkpoint:
    """The checkpoint of a directory; opening it digests its weights, and once is enough."""
    return open_checkpoint(str(directory))


def family_of(directory: Path) -> Family:
    """The family of a checkpoint directory."""
    return recognise(read_config(directory), directory)


def load_encoder(
    directory: Path, device: str, *, kernel: str = "auto", compiled: str = "auto", token_budget: int | None = None,
    products: str = "auto", **fields: Any,
) -> Encoder:  # fmt: skip
    """Our encoder of whole proteins in `device` (cpu or cuda), under the default recipe with `fields` changed."""
    checkpoint = opened(directory)
    recipe = {"model": str(directory), "max_residues": LONGEST, "normalize": False, "store_dtype": "float32"} | fields
    resolved = resolve(embedding_config(recipe), checkpoint.facts, device, None)
    return Encoder.load(
        directory, family_of(directory), [resolved], device=device, token_budget=token_budget, kernel=kernel,
        compiled=compiled, products=products,
    )  # fmt: skip


def ours(directory: Path, device: str, dtype: str | None) -> Callable[[], Embed]:
    """What loads our encoder; None is the dtype that the family chooses for the device."""

    def load() -> Embed:
        encoder = load_encoder(directory, device, dtype=dtype)

        def run(sequences: Sequence[str]) -> dict[str, np.ndarray]:
            found = list(encoder.embed(sequences))
            assert all(isinstance(result, Embedded) for result in found), "the benchmark's proteins are all embedded"
            return {sequences[r.index]: r.pooled["mean"][0] for r in found if isinstance(r, Embedded)}

        return run

    return load


def plain_model(directory: Path, device: str, dtype: str) -> Any:
    """The module of transformers as its documentation loads it."""
    from transformers import AutoModel, T5EncoderModel
    from transformers.utils import logging

    logging.set_verbosity_error()  # a table of the weights of heads, which are not wanted here
    logging.disable_progress_bar()
    family = family_of(directory)
    kind: Any = T5EncoderModel if family.has_bias else AutoModel
    more = {"add_pooling_layer": False} if family.name == "esm2" else {}
    return kind.from_pretrained(directory, dtype=getattr(torch, dtype), **more).eval().to(device)


def _padded(
    directory: Path, device: str, dtype: str, grouped: Callable[[Sequence[str]], Batches]
) -> Callable[[], Embed]:
    """As the model's documentation shows it: pad, run, mean over the residues."""

    def load() -> Embed:
        model = plain_model(directory, device, dtype)
        alphabet = family_of(directory).alphabet(directory)
        before = len(alphabet.before)

        def run(sequences: Sequence[str]) -> dict[str, np.ndarray]:
            found = {}
            for batch in grouped(sequences):
                rows = [torch.from_numpy(alphabet.window(alphabet.residues(s))) for s in batch]
                ids = pad_sequence(rows, True, model.config.pad_token_id).to(device)
                mask = pad_sequence([torch.ones_like(r) for r in rows], True).to(device)
                with torch.inference_mode():
                    states = model(input_ids=ids, attention_mask=mask).last_hidden_state
                means = [x[before : before + len(s)].float().mean(0) for x, s in zip(states, batch, strict=True)]
                found |= dict(zip(batch, torch.stack(means).cpu().numpy(), strict=True))
            return found

        return run

    return load


def _in_order(size: int) -> Callable[[Sequence[str]], Batches]:
    return lambda sequences: [list(sequences[i : i + size]) for i in range(0, len(sequences), size)]


def _sorted(budget: int) -> Callable[[Sequence[str]], Batches]:
    """Sorted by length, as many per batch as a padded token budget holds: the honest baseline."""

    def grouped(sequences: Sequence[str]) -> Batches:
        batches: Batches = [[]]
        for sequence in sorted(sequences, key=len):
            if batches[-1] and (len(batches[-1]) + 1) * (len(sequence) + 2) > budget:
                batches.append([])
            batches[-1].append(sequence)
        return batches

    return grouped
