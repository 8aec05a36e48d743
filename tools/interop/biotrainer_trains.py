"""Run by biotrainer's Python in a folder of exports: one epoch on vectors.h5 and the labels in labelled.fasta."""
# pyright: reportMissingImports=false

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from biotrainer.embedders import EmbeddingService
from biotrainer.input_files import read_FASTA
from ruamel.yaml import YAML
from same_vectors import same_vectors

CONFIG = {
    "protocol": "sequence_to_class",
    "input_file": "labelled.fasta",
    "embeddings_file": str(Path("vectors.h5").resolve()),
    "model_choice": "FNN",
    "num_epochs": 1,
    "device": "cpu",
    "output_dir": "trained",
}


def used(out: Any) -> list[int]:
    """How many proteins it tested, trained and validated on, wherever in its report they stand."""
    if not isinstance(out, dict):
        return []
    here = [out[name] for name in ("n_training_ids", "n_validation_ids", "n_testing_ids") if name in out]
    return [*here, *(count for value in out.values() for count in used(value))]


def main() -> None:
    """Print what biotrainer read and what it trained, as JSON."""
    with Path("biotrainer.yaml").open("w") as file:
        YAML().dump(CONFIG, file)
    subprocess.run([Path(sys.executable).with_name("biotrainer"), "train", "--config", "biotrainer.yaml"], check=True)
    out = YAML(typ="safe").load(Path("trained/out.yml"))
    records = read_FASTA("labelled.fasta")
    vectors = EmbeddingService.load_embeddings("vectors.h5", [record.get_hash() for record in records])
    found = {
        "read": len(records),
        "vectors": same_vectors(
            [record.seq_id for record in records], [vectors[record.get_hash()].numpy() for record in records]
        ),
        "places": sum(used(out)),
        "families": len(out["derived_values"]["class_int2str"]),
        "did": f"one epoch of a network, tested, trained and validated on {', '.join(map(str, used(out)))}",
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
