"""Attention and contact maps of a few short proteins: from a sequence file to one npz, in this process.

A map holds heads x L x L numbers a layer, written out because the fused kernels never form them: 84 MB a layer for 20
heads at L = 1,022, and 238 MB for a protein of 300 residues in a model of 33 layers and 20 heads. So maps are for short
proteins, are computed and written one protein at a time, and do not go into a space.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from protea_ray.cluster.progress import SILENT, Reporter
from protea_ray.config.attention_forms import attention_variant
from protea_ray.config.map_options import require_map_options
from protea_ray.config.recipe import embedding_config
from protea_ray.encoder.encoder import Encoder
from protea_ray.encoder.in_memory import encoder_here
from protea_ray.errors import ConfigError, EncoderError, InputError, did_you_mean
from protea_ray.models.checkpoint import open_checkpoint
from protea_ray.models.shipped import DEFAULT_MODEL
from protea_ray.sequences.inputs import Columns, expand, scan
from protea_ray.sequences.nucleotides import require_no_nucleotides
from protea_ray.sequences.parts import Source
from protea_ray.sequences.read import read_part, require_amino_acids

MAX_MAP_RESIDUES = 1022


def attention_maps(encoder: Encoder, sequence: str, *, limit: int = MAX_MAP_RESIDUES) -> np.ndarray:
    """Attention weights between residues, (layers, heads, L, L) float32.

    Rows sum to less than 1, because weights on special tokens are left out. Raises EncoderError above `limit` residues
    and for letters that the model does not have.
    """
    maps: list[np.ndarray] = []
    _record_attention(encoder, sequence, limit, lambda weights: maps.append(weights.cpu().numpy()))
    return np.stack(maps)


def contact_map(encoder: Encoder, sequence: str, *, limit: int = MAX_MAP_RESIDUES) -> np.ndarray:
    """Probability of contact of each pair of residues, (L, L) float32: ESM-2's logistic regression on attention.

    Rao et al. 2020 (Transformer protein language models are unsupervised structure learners): symmetrised maps,
    average product correction, one weight for each head. One layer's maps are held at a time. Raises EncoderError
    when the checkpoint has no contact head, and above `limit` residues.
    """
    head: Any = encoder.core.stack.contacts
    if head is None:
        raise EncoderError(f"{encoder.directory} has no contact head; contact maps need an ESM-2 checkpoint with one")
    layers = iter(head.regression.weight.float().view(len(encoder.core.stack.layers), -1))
    score = head.regression.bias.float().clone()

    def add(weights: Tensor) -> None:
        nonlocal score
        score = score + torch.einsum("h,hij->ij", next(layers), _product_corrected(weights))

    _record_attention(encoder, sequence, limit, add)
    return torch.sigmoid(score).cpu().numpy()


def _product_corrected(weights: Tensor) -> Tensor:
    """Symmetrise maps (H, L, L) and subtract what their row and column sums explain (average product correction)."""
    both = weights + weights.transpose(1, 2)
    rows, columns = both.sum(2, keepdim=True), both.sum(1, keepdim=True)
    return both - rows * columns / both.sum((1, 2), keepdim=True)


def _record_attention(encoder: Encoder, sequence: str, limit: int, take: Callable[[Tensor], None]) -> None:
    """Run one forward pass with explicit attention; `take` gets the (H, L, L) between residues of each layer."""
    length, before = len(sequence), len(encoder.alphabet.before)
    if not 0 < length <= limit:
        size = encoder.shape.heads * length**2 * 4 / 1e6
        raise EncoderError(f"maps of {length} residues are refused: 1 to {limit} only ({size:,.0f} MB a layer)")
    ids = encoder.alphabet.residues(sequence)
    if (ids < 0).any():
        raise EncoderError(f"{sequence[:20]!r}... has letters that are not residues of this model")
    with torch.inference_mode():
        pack = encoder.core.pack([encoder.alphabet.window(ids)])
        inside = slice(before, before + length)
        last = frozenset({len(encoder.core.stack.layers)})
        for _ in encoder.core.states(pack, last, lambda weights: take(weights[:, inside, inside])):
            pass


OUTPUTS = {"attention": attention_maps, "contacts": contact_map}
_PART_BYTES = 64 << 20


@dataclass(frozen=True)
class Maps:
    """The file that `write_maps` wrote: its path and number of proteins. `trained` False: the maps carry no biology.

    `left_out`: each record of the source that is no protein or is too long, in words.
    """

    path: str
    proteins: int
    trained: bool
    left_out: tuple[str, ...] = ()


def write_maps(
    source: str, out: str | Path, *, outputs: Sequence[str] = ("attention",), ids: Sequence[str] | None = None,
    model: str | None = None, revision: str | None = None, alphabet: str | None = None, report: Reporter = SILENT,
) -> Maps:  # fmt: skip
    """Write maps of the proteins of `source` (all, or those in `ids`) to the npz file `out`, in float32.

    Arrays are `id` (n,) and for protein number i `attention_i` (layers, heads, L, L), whose rows sum to less than 1
    because special tokens are left out, and `contacts_i` (L, L), the probability of contact (ESM-2 alone). `model`
    None is the default; `alphabet` is aa (None), or 3di for ProstT5. Raises ConfigError for outputs that
    the model does not have and for letters that may be of either alphabet, InputError that names every protein of `ids`
    that is missing, rejected, or longer than 1,022 residues, and CheckpointError; nothing is written then. Without
    `ids` such records are left out and named in the result.
    """
    out = Path(out)
    require_map_options(out, outputs)
    fields = {"model": model or DEFAULT_MODEL, "revision": revision, "dtype": "float32", "alphabet": alphabet}
    config = embedding_config(fields, where="maps")
    columns = Columns(alphabet=config.alphabet or "aa")
    places = expand([source], columns)
    if alphabet is None:
        require_no_nucleotides(places, columns)
    found = _proteins(places, source, ids, columns)
    proteins = found.proteins
    report.phase("opening the checkpoint")
    checkpoint = open_checkpoint(model, revision)
    if checkpoint.facts.reads_3di and alphabet is None:
        require_amino_acids(places, columns)
    if not attention_variant(checkpoint.facts.attention).is_masked_exactly:
        raise ConfigError(
            f"{checkpoint.model} was trained with attention {checkpoint.facts.attention}, whose weights are never "
            "written out; maps are of models with attention exact or local:W", where="maps"
        )  # fmt: skip
    encoder = encoder_here(checkpoint, config, compiled="off")  # attention is written out, in a few proteins
    if "contacts" in outputs and encoder.core.stack.contacts is None:
        raise ConfigError(f"{checkpoint.model} has no contact head; use --outputs attention, or an ESM-2", where="maps")
    unfinished = out.with_name(f".{out.name}.part")
    try:
        with zipfile.ZipFile(unfinished, "w") as archive:
            _append_array(archive, "id", np.array([id for id, _ in proteins], dtype=np.str_))
            report.work("writing maps", "maps", len(proteins) * len(outputs))
            for name, values in _arrays(encoder, proteins, outputs):
                _append_array(archive, name, values)
                report.worked(1)
        unfinished.replace(out)
    finally:
        unfinished.unlink(missing_ok=True)
    return Maps(str(out), len(proteins), checkpoint.trained, tuple(found.left_out))


@dataclass(frozen=True)
class _Found:
    """(id, letters) of the proteins to make maps of, and in words each record that is none or is too long."""

    proteins: list[tuple[str, str]]
    left_out: list[str]


def _proteins(places: Sequence[Source], source: str, ids: Sequence[str] | None, columns: Columns) -> _Found:
    """The proteins in `ids`, or all that can be had when None.

    Raises InputError with every problem of those in `ids`, and when no protein is left.
    """
    found, left_out = list[tuple[str, str]](), list[str]()
    known = set[str]()
    for kind, row in _records(places, columns):
        if ids is not None and row["id"] not in ids:
            continue
        known.add(row["id"])
        if kind == "reject":
            left_out.append(f"{source}, line {row['line']}: {row['id'] or 'a record'} is no protein: {row['detail']}")
        elif row["length"] > MAX_MAP_RESIDUES:
            left_out.append(
                f"{row['id']} has {row['length']} residues; maps grow with the square and are refused beyond "
                f"{MAX_MAP_RESIDUES}: cut a domain"
            )
        else:
            found.append((row["id"], row["sequence"]))
    absent = [f"{source} has no protein {id!r}{did_you_mean(id, known)}" for id in dict.fromkeys(ids or ())
              if id not in known]  # fmt: skip
    if absent or not found or (ids is not None and left_out):
        raise InputError([*left_out, *absent] or [f"{source} has no proteins"])
    return _Found(found, left_out)


def _records(places: Sequence[Source], columns: Columns) -> Iterator[tuple[str, dict[str, Any]]]:
    for place in places:
        for part in scan(place, columns, _PART_BYTES).parts:
            for batch in read_part(part, columns, place.uri, ""):
                yield from (("protein", row) for row in batch.proteins.to_pylist())
                yield from (("reject", row) for row in batch.rejects.to_pylist())


def _arrays(
    encoder: Encoder, proteins: Sequence[tuple[str, str]], outputs: Sequence[str]
) -> Iterator[tuple[str, np.ndarray]]:
    """(array name, map) of every protein and output, one protein after the other."""
    for number, (_, letters) in enumerate(proteins):
        for name, make in OUTPUTS.items():
            if name in outputs:
                yield f"{name}_{number}", make(encoder, letters)


def _append_array(archive: zipfile.ZipFile, name: str, values: np.ndarray) -> None:
    """Append one array to an npz; `numpy.savez` would need all arrays at once."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array(file, values, allow_pickle=False)
