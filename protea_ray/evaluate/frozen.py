"""Vectors of frozen models for a comparison: made in this process, without a store, and kept in safetensors files.

A file is named by what its numbers follow from (digests of the checkpoint, recipes, letters), so that a comparison that
is run again, or goes on where it was stopped, embeds nothing twice. Neither Ray nor Lance is imported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from protea_ray.config.identity import canonical_json, short_name
from protea_ray.config.recipe import EmbeddingConfig, resolve
from protea_ray.encoder.collect import Rejected
from protea_ray.encoder.in_memory import encoder_here
from protea_ray.errors import EncoderError, InputError, numbered
from protea_ray.models.checkpoint import Checkpoint, open_checkpoint
from protea_ray.sequences.inputs import expand
from protea_ray.sequences.parts import Columns
from protea_ray.sequences.read import read_part
from protea_ray.sequences.scan import scan

_PART_BYTES = 1 << 28


def read_proteins(paths: Iterable[Path]) -> dict[str, tuple[str, str]]:
    """(letters, description) of every protein of some files by its id; raises InputError for rejected records."""
    columns, found, problems = Columns(), {}, []
    for source in expand([str(path) for path in paths], columns):
        for part in scan(source, columns, _PART_BYTES).parts:
            for batch in read_part(part, columns, source.uri, ""):
                found |= {row["id"]: (row["sequence"], row["description"]) for row in batch.proteins.to_pylist()}
                problems += [f"{source.uri}, line {r['line']}: {r['detail']}" for r in batch.rejects.to_pylist()]
    if problems:
        raise InputError(problems)
    return found


def protein_vectors(
    model: str, sequences: Sequence[str], layers: Sequence[int], folder: Path, device: str = "auto"
) -> dict[int, np.ndarray]:
    """Mean over residues of each protein, by layer from the end: (n, width) float32, not normalised.

    Raises EncoderError when a protein has no embedding.
    """
    fields = {"pooling": ("mean",), "store_dtype": "float32"}
    parts = _kept(model, sequences, layers, folder, device, fields)
    return {layer: parts[f"layer_{layer}"] for layer in layers}


def residue_vectors(
    model: str, sequences: Sequence[str], layers: Sequence[int], folder: Path, device: str = "auto"
) -> dict[int, np.ndarray]:
    """The states of all residues of all proteins, one after the other, by layer: (residues, width) float16."""
    fields = {"pooling": ("none",), "store_dtype": "float16"}
    parts = _kept(model, sequences, layers, folder, device, fields)
    return {layer: parts[f"layer_{layer}"] for layer in layers}


def _kept(
    model: str, sequences: Sequence[str], layers: Sequence[int], folder: Path, device: str, fields: dict[str, object]
) -> dict[str, np.ndarray]:
    """One array for each layer, from the file of an earlier run or made and written now."""
    from safetensors.numpy import load_file, save_file

    checkpoint = open_checkpoint(model)
    named = {"files": checkpoint.files, "layers": list(layers), "fields": fields, "letters": list(sequences)}
    digest = hashlib.sha256(canonical_json(named).encode()).hexdigest()[:16]
    path = folder / f"{short_name(checkpoint.model)}-{digest}.safetensors"
    if path.is_file():
        return load_file(path)
    made = _embedded(checkpoint, sequences, layers, device, fields)
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    save_file(made, unfinished)
    unfinished.replace(path)
    return made


def _embedded(
    checkpoint: Checkpoint, sequences: Sequence[str], layers: Sequence[int], device: str, fields: dict[str, object]
) -> dict[str, np.ndarray]:
    """All layers from one pass: recipe number i is layer number i."""
    common = {"model": checkpoint.model, "normalize": False, **fields}
    recipes = [EmbeddingConfig.model_validate({**common, "layers": (layer,)}) for layer in layers]
    encoder = encoder_here(checkpoint, recipes[0], device)
    place = encoder.core.device.type
    encoder = encoder.under([resolve(r, checkpoint.facts, place, checkpoint.revision) for r in recipes])
    rows: list[list[np.ndarray]] = [[np.empty(0)] * len(sequences) for _ in layers]
    problems: list[str] = []
    for result in encoder.embed(sequences):
        if isinstance(result, Rejected):
            problems.append(f"{sequences[result.index][:20]}...: {result.reason}, {result.detail}")
        else:
            rows[result.recipe][result.index] = result.pooled["mean"] if result.residues is None else result.residues[0]
    if problems:
        raise EncoderError(numbered(f"{checkpoint.model}: proteins without an embedding", problems))
    return {f"layer_{layer}": np.concatenate(of_layer) for layer, of_layer in zip(layers, rows, strict=True)}
