"""The built-in model: the same bytes everywhere, and a checkpoint that transformers loads without a gap."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from protea_ray.errors import CheckpointError
from protea_ray.models import untrained

BUILD = "from protea_ray.models.untrained import untrained_checkpoint as c; print(c())"


def built_by_a_process(cache: Path) -> Path:
    env = os.environ | {"PROTEA_RAY_CACHE": str(cache)}
    done = subprocess.run([sys.executable, "-c", BUILD], env=env, capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())


def digests(directory: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()}


def test_two_processes_build_the_same_bytes(tmp_path: Path):
    first, second = (built_by_a_process(tmp_path / name) for name in "ab")
    assert digests(first) == digests(second)
    names = {"config.json", "model.safetensors", "tokenizer_config.json", "vocab.txt"}
    assert set(digests(first)) == names


def test_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PROTEA_RAY_CACHE", str(tmp_path))
    path = untrained.untrained_checkpoint()
    before = (path / "model.safetensors").stat().st_mtime_ns
    assert untrained.untrained_checkpoint() == path
    assert (path / "model.safetensors").stat().st_mtime_ns == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_processes_that_build_at_once_agree(tmp_path: Path):
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(built_by_a_process, [tmp_path] * 4))
    assert len(paths) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == [paths.pop().name]


@pytest.mark.parametrize("damage", ["flipped", "gone"])
def test_a_damaged_copy_is_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str):
    monkeypatch.setenv("PROTEA_RAY_CACHE", str(tmp_path))
    path = untrained.untrained_checkpoint()
    whole = digests(path)
    if damage == "gone":
        (path / "vocab.txt").unlink()
    else:
        content = bytearray((path / "model.safetensors").read_bytes())
        content[-1] ^= 1
        (path / "model.safetensors").write_bytes(content)
    assert digests(untrained.untrained_checkpoint()) == whole


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("PROTEA_RAY_CACHE", str(blocked))
    with pytest.raises(CheckpointError, match="PROTEA_RAY_CACHE"):
        untrained.untrained_checkpoint()


def test_neither_torch_nor_transformers_is_imported():
    code = "import sys; import protea_ray.models.untrained as u; u.untrained_checkpoint(); "
    code += "print([m for m in ('torch', 'transformers', 'ray', 'lance') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_transformers_loads_it_with_nothing_missing():
    from transformers import AutoTokenizer, EsmModel
    from transformers.models.esm.configuration_esm import get_default_vocab_list

    path = untrained.untrained_checkpoint()
    model, info = EsmModel.from_pretrained(path, add_pooling_layer=False, output_loading_info=True)
    assert {key: list(found) for key, found in info.items() if found} == {}
    assert (path / "vocab.txt").read_text().split() == list(get_default_vocab_list())
    tokenizer = AutoTokenizer.from_pretrained(path)
    assert tokenizer("MKTXBUZO")["input_ids"] == [0, 20, 15, 11, 24, 25, 26, 27, 28, 2]
    assert model.config.token_dropout is True


def test_initialised_as_transformers_does():
    import torch
    from transformers import EsmModel

    path = untrained.untrained_checkpoint()
    ours = EsmModel.from_pretrained(path, add_pooling_layer=False)
    torch.manual_seed(0)
    theirs = EsmModel(ours.config, add_pooling_layer=False)
    reference = theirs.state_dict()
    for name, tensor in ours.state_dict().items():
        expected = reference[name]
        assert tensor.shape == expected.shape, name
        if tensor.ndim == 1:
            np.testing.assert_allclose(tensor, expected, rtol=1e-6, err_msg=name)
        elif tensor.numel() > 1000:
            assert abs(tensor.std() / 0.02 - 1) < 0.02, name
            assert abs(tensor.mean()) < 0.001, name


def test_it_says_that_it_is_untrained():
    import json

    config = json.loads((untrained.untrained_checkpoint() / "config.json").read_text())
    assert untrained.is_trained(config) is False
    assert untrained.is_trained({"model_type": "esm"}) is True
    assert untrained.is_trained({"protea_ray": "x"}) is True
