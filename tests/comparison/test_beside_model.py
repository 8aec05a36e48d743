"""`--beside-model`: what was measured goes to where a run under a variant looks for it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.commands import call, call_json


def test_the_figures_are_written_beside_the_weights(model: Path, fasta: Path, tmp_path: Path) -> None:
    own = shutil.copytree(model, tmp_path / "own")
    given = ("compare-variants", own, "--proteins", fasta, "--variants", "local:3", "--blocks", "fidelity",
             "--proteins-per-bin", 4, "--longest", 60, "--device", "cpu")  # fmt: skip
    call_json(*given, "--out", tmp_path / "out")
    assert not (own / "variants.json").exists()
    found = call_json(*given, "--out", tmp_path / "out", "--beside-model")
    assert found["written"][-1] == str(own / "variants.json")
    (row,) = json.loads((own / "variants.json").read_text())["rows"]
    assert (row["variant"], row["loss_difference"]) == ("local:3", None)
    proteins = [(one["proteins"], one["pooled_cosine"]) for one in found["pooled"]]
    assert row["pooled_cosine"] == pytest.approx(sum(n * c for n, c in proteins) / sum(n for n, _ in proteins))


def test_a_place_that_cannot_be_written_is_refused_before_proteins_are_read(
    model: Path, fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr("protea_ray.comparison.drift_file.os.access", lambda *_: False)
    monkeypatch.setattr("protea_ray.comparison.comparison.draw_proteins", None)
    done = call("compare-variants", model, "--proteins", fasta, "--out", tmp_path / "out", "--beside-model")
    assert done.returncode == 2
    assert "--beside-model: " in done.stderr
    assert "cannot be written to" in done.stderr
