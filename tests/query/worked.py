"""Real vectors in a store without Ray: the encoder of a worker under a resolved recipe, its rows committed here."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from protea_ray.config.recipe import embedding_config
from protea_ray.config.resolution import resolve
from protea_ray.encoder.collect import Embedded
from protea_ray.models.checkpoint import open_checkpoint
from protea_ray.pipeline.targets import make_targets
from protea_ray.pipeline.worker import EncoderSpec
from protea_ray.sequences.records import PROTEINS_SCHEMA
from protea_ray.store.location import Location
from protea_ray.store.rows import space_rows
from tests.store import build


def key_of(letters: str) -> bytes:
    return hashlib.sha256(letters.encode()).digest()[:16]


def embed_here(location: Location, model: Path, sequences: Mapping[str, str], source: str, **recipe: Any) -> str:
    """Ingest sequences by id and embed them under a recipe; returns the space."""
    found = open_checkpoint(str(model))
    config = resolve(embedding_config({"model": str(model), **recipe}), found.facts, "cpu", None)
    (target,) = make_targets(location, found, [config], "r1")
    rows = [
        {"id": id, "key": key_of(s), "length": len(s), "sequence": s, "description": "", "source": source, "line": n}
        for n, (id, s) in enumerate(sequences.items(), 1)
    ]
    build.ingest(location, pa.Table.from_pylist(rows, PROTEINS_SCHEMA), source, source)
    spec = EncoderSpec(str(model), None, found.path, platform.node(), found.files, found.facts.family, "cpu", None)
    results = sorted(spec.load([config]).embed(list(sequences.values())), key=lambda result: result.index)
    stored = [result for result in results if isinstance(result, Embedded)]
    written = space_rows(
        target.schema, keys=[rows[r.index]["key"] for r in stored], unit="r1.0", spans=[r.spans for r in stored],
        n_residues=[rows[r.index]["length"] for r in stored], n_residues_seen=[r.n_residues_seen for r in stored],
        n_windows=[r.n_windows for r in stored], truncated=[r.truncated for r in stored],
        vectors={name: [r.pooled[name] for r in stored] for name in config.pooled},
        residues=[matrix for r in stored for matrix in r.residues or ()] if config.keeps_residues else None,
    )  # fmt: skip
    build.writer().append_table(target.uri, written)
    return target.space
