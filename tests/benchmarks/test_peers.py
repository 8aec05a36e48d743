"""Peers take part in the benchmark where they are installed and can run the model."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.encoder import peers
from benchmarks.encoder.peers import installed
from protea_ray.testing.random_checkpoint import build


def test_peers_take_part_where_they_are_and_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def names(model: str, device: str, dtype: str) -> list[str]:
        directory = build(model, tmp_path / model) if not (tmp_path / model).exists() else tmp_path / model
        return [name for name, _ in installed(directory, device, dtype, 2048)]

    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    assert names("esm2", "cuda", "float16") == []
    monkeypatch.setattr(peers, "find_spec", lambda name: object())
    assert names("esm2", "cuda", "float16") == ["FastPLMs embed_dataset"]
    assert names("esm2", "cpu", "float32") == ["FastPLMs embed_dataset"]
    assert names("esmc", "cuda", "float16") == []
