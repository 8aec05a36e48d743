"""`protea-ray models` lists what can be named, says what is here, and asks no network."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from huggingface_hub import constants, file_download

from protea_ray.config.known_models import KNOWN
from tests.commands import call, call_json


def test_every_model_with_its_figures_and_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    for module in (constants, file_download.constants):
        monkeypatch.setattr(module, "HF_HUB_CACHE", str(tmp_path))
    place = tmp_path / "models--Rostlab--ProstT5"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("c" * 40)
    (place / "snapshots" / ("c" * 40)).mkdir(parents=True)
    for name in ("config.json", "model.safetensors.index.json"):
        (place / "snapshots" / ("c" * 40) / name).write_text("{}")

    found = call_json("models")
    assert [m["name"] for m in found["models"]] == [known.name for known in KNOWN]
    assert [m["name"] for m in found["models"] if m["here"]] == ["prostt5"]
    (esm2,) = [m for m in found["models"] if m["name"] == "esm2_650m"]
    assert esm2 | {"also": []} == {
        "name": "esm2_650m", "hub_id": "facebook/esm2_t33_650M_UR50D", "also": [], "parameters": 649_000_000,
        "layers": 33, "width": 1280, "trained_length": 1022, "float32_bytes": 2_596_000_000,
        "half_bytes": 1_298_000_000, "licence": "MIT", "relative_cost": 1.0, "here": False,
    }  # fmt: skip
    assert set(found["built_in"]) == {"small", "untrained-esm2-8m", "untrained:MODEL"}

    said = call("models").stdout
    for known in KNOWN:
        assert known.name in said
    assert "2.6 GB" in said
    assert "CC-BY-NC-SA-4.0" in said
