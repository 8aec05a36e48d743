"""A tiny random ESM-2 that says it was trained on 60 residues, and proteins shorter and longer than that."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch

from protea_ray.testing.random_checkpoint import build

TRAINED = 60
BINS = (30, 60, 130)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = build("esm2", tmp_path_factory.mktemp("compared") / "model", layers=2, hidden=32)
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"protea_ray": {"trained_residues": TRAINED}}))
    return directory


@pytest.fixture(scope="session")
def fasta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = random.Random(4)
    lengths = [20, 25, 28, 30, 40, 50, 55, 60, 90, 100, 110, 128]
    sequences = ["".join(draw.choices("ACDEFGHIKLMNPQRSTVWY", k=length)) for length in lengths]
    path = tmp_path_factory.mktemp("compared") / "p.fasta"
    path.write_text("".join(f">p{i}\n{sequence}\n" for i, sequence in enumerate(sequences)))
    return path
