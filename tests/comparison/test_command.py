"""`protea-ray compare-variants` from the command line: tables, files, and mistakes before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import protea_ray
from tests.commands import call, call_json


def test_the_command_prints_tables_and_writes_them(model: Path, fasta: Path, tmp_path: Path):
    out = tmp_path / "out"
    given = (
        "compare-variants", model, "--proteins", fasta, "--out", out, "--device", "cpu", "--blocks", "fidelity,loss",
        "--variants", "exact,near=local:3,stretched=yarn", "--proteins-per-bin", 4, "--longest", 128,
    )  # fmt: skip
    found = call_json(*given)
    assert {row["variant"] for row in found["fidelity"]} == {"exact", "near"}
    assert {row["variant"] for row in found["loss"]} == {"windows", "exact", "near", "stretched"}
    assert {row["bin"] for row in found["loss"]} == {60, 128}
    assert pq.read_table(out / "loss.parquet").to_pylist() == found["loss"]
    assert pq.read_table(out / "fidelity.parquet").to_pylist() == found["fidelity"]
    page = (out / "report.md").read_text()
    for title in ("Nearness to exact attention", "Masked loss in nats", "Masked loss minus that of windows"):
        assert f"## {title}" in page
    assert json.loads((out / "variants.json").read_text())["variants"]["near"]["attention"] == "local:3"
    assert found["advice"] in page and "stays the default" in found["advice"]
    assert any("windows share 15 residues" in note for note in found["notes"])


def test_mistakes_come_together_before_a_model_is_loaded(fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("protea_ray.comparison.comparison.open_checkpoint", None)
    (tmp_path / "file").touch()
    done = call("compare-variants", "small", "--proteins", fasta, "--out", tmp_path / "file", "--variants", "exakt",
                "--blocks", "loss,fidelty", "--proteins-per-bin", 1, "--longest", 0)  # fmt: skip
    assert done.returncode == 2 and not done.stdout
    for part in ("did you mean exact?", "did you mean fidelity?", "at least 2", "0 residues are none", "is a file"):
        assert part in done.stderr, part


def test_a_checkpoint_that_is_not_there_is_a_mistake(model: Path, fasta: Path, tmp_path: Path):
    done = call("compare-variants", model, "--proteins", fasta, "--out", tmp_path / "out", "--variants",
                f"exact,model:{tmp_path}/none,model:{tmp_path}/neither")  # fmt: skip
    assert done.returncode == 2
    assert "/none" in done.stderr and "/neither" in done.stderr and not (tmp_path / "out").exists()


def test_proteins_that_are_not_there_are_said(model: Path, tmp_path: Path):
    done = call("compare-variants", model, "--proteins", tmp_path / "no.fasta", "--out", tmp_path / "out")
    assert done.returncode == 1 and "no.fasta" in done.stderr


def test_from_python_it_is_the_same(model: Path, fasta: Path, tmp_path: Path):
    done = protea_ray.compare_variants(
        model, fasta, tmp_path / "out", variants=["exact"], blocks=["loss"], proteins_per_bin=4, longest=128,
        device="cpu",
    )  # fmt: skip
    assert isinstance(done, protea_ray.Comparison)
    assert "Masked loss in nats" in repr(done) and "<table>" in done._repr_html_()
    assert {row.variant for row in done.found.loss} == {"windows", "exact"}
