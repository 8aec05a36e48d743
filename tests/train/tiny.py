"""A store of synthetic proteins and a shape of two thin layers, for training runs of seconds."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa

from protea_ray.sequences.records import PROTEINS_SCHEMA, key_of
from protea_ray.sequences.synth import synthesise
from protea_ray.store.location import open_location
from tests.store import build

SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
RECIPE = (
    "--crop", 100, "--pack-tokens", 512, "--step-tokens", 1024, "--dtype", "float32", "--validation-every", 5,
    "--warmup-steps", 2,
)  # fmt: skip


def store(path: Path, n: int = 160, seed: int = 0) -> Path:
    """Ingest `n` proteins of n / 4 families into a new store; no vectors."""
    rows = [
        {"id": made.id, "key": key_of(made.sequence), "length": len(made.sequence), "sequence": made.sequence,
         "description": made.family, "source": f"s{seed}#1", "line": line}
        for line, made in enumerate(synthesise(n, seed, families=n // 4, max_length=200), 1)
    ]  # fmt: skip
    build.ingest(open_location(path), pa.Table.from_pylist(rows, PROTEINS_SCHEMA), f"s{seed}#1", f"d{seed}")
    return path


def shape(folder: Path) -> Path:
    """A config.json of an ESM-2 with 2 layers of 32."""
    path = folder / "tiny.json"
    path.write_text(json.dumps({"model_type": "esm", **SHAPE}))
    return path
