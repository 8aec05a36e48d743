"""Published numbers: fair-esm's token ids and states of ESM-2, and those of transformers' own test suite."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from protea_ray.models.families import recognise
from tests.encoder.conftest import load
from tests.shared_data import shared

REPOSITORIES = {
    "esm2_8m": "esm2_t6_8M_UR50D", "esm2_35m": "esm2_t12_35M_UR50D", "esm2_150m": "esm2_t30_150M_UR50D",
    "esm2_650m": "esm2_t33_650M_UR50D",
}  # fmt: skip


def golden(name: str) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Letters, ids and last state of each protein; the letters come from the ids by the published vocabulary."""
    tensors = load_file(shared(f"golden/{name}.safetensors"))
    vocabulary = (shared("esm2_8m_hf_config") / "vocab.txt").read_text().split()
    rows = []
    for i, mask in enumerate(tensors["input__attention_mask"].astype(bool)):
        ids = tensors["input__input_ids"][i][mask]
        state = tensors["output__last_hidden_state"][i][mask]
        rows.append(("".join(vocabulary[token] for token in ids[1:-1]), ids, state))
    return rows


def checkpoint_of(name: str) -> Path:
    folder = os.environ.get("PROTEA_RAY_CHECKPOINTS")
    if folder is None:
        pytest.skip("no real weights: PROTEA_RAY_CHECKPOINTS is not set")
    directory = Path(folder) / REPOSITORIES[name]
    if not (directory / "config.json").exists():
        pytest.skip(f"no real weights: {directory} does not exist")
    return directory


@pytest.mark.parametrize("name", REPOSITORIES)
def test_the_published_tokenizer_gives_the_golden_ids(name):
    directory = shared("esm2_8m_hf_config")
    family = recognise(json.loads((directory / "config.json").read_text()), directory)
    assert family.name == "esm2"
    alphabet = family.alphabet(directory)
    proteins = golden(name)
    assert [len(letters) for letters, _, _ in proteins] == [61, 29, 13]
    for letters, ids, _ in proteins:
        assert alphabet.window(alphabet.residues(letters)).tolist() == ids.tolist()


@pytest.mark.parametrize("name", REPOSITORIES)
def test_states_of_fair_esm(name):
    proteins = golden(name)
    run = load(checkpoint_of(name), {"pooling": ("none",)})
    for result in run.embed([letters for letters, _, _ in proteins]):
        expected = proteins[result.index][2][1:-1]
        scale = np.abs(expected).max()  # produced in bfloat16: 8 bits of mantissa
        assert np.abs(result.residues[0] - expected).max() < 0.03 * scale


def test_states_of_the_transformers_test_suite():
    expected = json.loads(shared("golden/hf_esm2_8m_expected_slices.json").read_text())["no_head"]
    vocabulary = (shared("esm2_8m_hf_config") / "vocab.txt").read_text().split()
    letters = "".join(vocabulary[token] for token in expected["input_ids"][0][1:-1])
    run = load(checkpoint_of("esm2_8m"), {"pooling": ("none", "cls"), "normalize": False})
    (result,) = run.embed([letters])
    rows = np.concatenate([result.pooled["cls"], result.residues[0]])[:3, :3]
    assert np.allclose(rows, expected["last_hidden_state[:, :3, :3]"][0], rtol=1e-4, atol=1e-4)
