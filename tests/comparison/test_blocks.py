"""Fidelity and masked loss of whole comparisons on a tiny model, against plain numpy and transformers."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from protea_ray.cluster.progress import LineReporter
from protea_ray.comparison import blocks, fidelity, loss
from protea_ray.comparison.compared_variant import compared_variant
from protea_ray.comparison.comparison import Comparison, ComparisonOptions, compare
from protea_ray.comparison.finished_parts import FinishedParts
from protea_ray.comparison.protein_bins import draw_proteins
from protea_ray.comparison.variant_encoders import VariantEncoders
from protea_ray.encoder.collect import Embedded
from protea_ray.encoder.masked_loss import masked_places
from protea_ray.models.checkpoint import open_checkpoint
from protea_ray.testing.random_checkpoint import build
from tests.comparison.conftest import BINS
from tests.encoder.test_masked_loss import Plain
from tests.plain import PlainEsm


def run(model: Path, fasta: Path, out: Path, variants: str, *names: str, **options: Any) -> Comparison:
    given = ComparisonOptions((variants,), names, per_bin=4, longest=130, device="cpu", **options)
    return compare(str(model), str(fasta), out, LineReporter(loudness="quiet"), given)


@pytest.fixture(autouse=True)
def short_bins(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("protea_ray.comparison.comparison.length_bins", lambda trained, longest: BINS)


def by(rows: Any, **wanted: Any) -> list[Any]:
    return [row for row in rows if all(getattr(row, name) == value for name, value in wanted.items())]


def test_exact_is_near_to_itself_and_so_is_what_is_exact_by_construction(model: Path, fasta: Path, tmp_path: Path):
    done = run(model, fasta, tmp_path, "exact,local:5000,local:3,truncate", "fidelity")
    assert {row.bin for row in done.found.fidelity} == {30, 60}, "longer proteins have no exact truth"
    assert {row.layer for row in done.found.fidelity} == {0, 1}
    for name in ("exact", "local:5000"):
        for row in by(done.found.fidelity, variant=name):
            assert row.relative_error < 1e-5 and abs(row.centred_cosine - 1) < 1e-5
        for row in by(done.found.pooled, variant=name):
            assert abs(row.pooled_cosine - 1) < 1e-5 and row.proteins == 4
            assert row.neighbours_kept is None, "10 of 7 others are no neighbours"
    assert all(row.relative_error > 0.05 for row in by(done.found.fidelity, variant="local:3"))
    assert [one.variant for one in done.left_out] == ["truncate"]
    assert "fidelity is left out of truncate: for a protein of one window it is exact attention" in done.all_notes()


def test_fidelity_is_what_numpy_says(model: Path, fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Against states of transformers, residue by residue and neighbour by neighbour."""
    monkeypatch.setattr(fidelity, "NEIGHBOURS", 3)
    done = run(model, fasta, tmp_path / "out", "int=local:3", "fidelity")
    plain, near = PlainEsm(model), {}
    drawn = draw_proteins(str(fasta), (30, 60), 4, 0).proteins
    encoder = VariantEncoders(open_checkpoint(str(model)), "cpu").load(compared_variant("local:3"))
    own = dict(fidelity._whole_states(encoder, drawn))
    exact = [np.stack(plain.states(protein.sequence)[:0:-1]) for protein in drawn]
    for layer in (0, 1):
        centre = np.concatenate([states[layer] for states in exact]).mean(axis=0)
        for bin in (30, 60):
            errors, cosines = [], []
            for number, protein in enumerate(drawn):
                if protein.bin == bin:
                    for one, other in zip(own[number][layer], exact[number][layer], strict=True):
                        errors.append(np.linalg.norm(one - other) / np.linalg.norm(other))
                        cosines.append(cosine(one - centre, other - centre))
            (row,) = by(done.found.fidelity, layer=layer, bin=bin)
            near[layer, bin] = abs(row.relative_error - np.mean(errors)), abs(row.centred_cosine - np.mean(cosines))
    assert max(map(max, near.values())) < 1e-5
    ours = [own[number][0].mean(axis=0) for number in range(len(drawn))]
    theirs = [states[0].mean(axis=0) for states in exact]
    middle = np.mean(theirs, axis=0)
    for bin in (30, 60):
        inside = [number for number, protein in enumerate(drawn) if protein.bin == bin]
        cosines = [cosine(ours[i] - middle, theirs[i] - middle) for i in inside]
        kept = [len(nearest(ours, i) & nearest(theirs, i)) / 3 for i in inside]
        (row,) = by(done.found.pooled, bin=bin)
        assert abs(row.pooled_cosine - np.mean(cosines)) < 1e-5 and abs(row.lowest - min(cosines)) < 1e-5
        assert abs(row.neighbours_kept - np.mean(kept)) < 1e-9


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def nearest(vectors: list[np.ndarray], number: int) -> set[int]:
    others = [other for other in range(len(vectors)) if other != number]
    return set(sorted(others, key=lambda other: -cosine(vectors[number], vectors[other]))[:3])


def test_fewer_residues_are_kept_where_memory_is_short(model: Path, fasta: Path):
    drawn = draw_proteins(str(fasta), (30, 60), 4, 0).proteins
    encoder = VariantEncoders(open_checkpoint(str(model)), "cpu").load(blocks.EXACT)
    whole = fidelity.exact_states(encoder, drawn)
    some = fidelity.exact_states(encoder, drawn, kept_bytes=8 * 10 * 4 * 32 * 2)
    assert [len(kept) for kept in whole.kept] == [len(protein.sequence) for protein in drawn]
    assert {len(kept) for kept in some.kept} == {10}
    for kept, states, every in zip(some.kept, some.states, whole.states, strict=True):
        np.testing.assert_array_equal(states, every[:, kept])
    np.testing.assert_array_equal(some.pooled, whole.pooled)


def test_losses_are_those_of_transformers_in_pairs_with_windows(model: Path, fasta: Path, tmp_path: Path):
    done = run(model, fasta, tmp_path, "windows:20,exact,truncate", "loss", seed=2)
    plain, drawn = Plain(model), draw_proteins(str(fasta), BINS, 4, 2)
    each = {}
    for protein in drawn.proteins:
        places = masked_places(protein.sequence, seed=2).tolist()
        if places:
            each[protein.key] = (protein.bin, plain.nats(protein.sequence, places)[0].mean(), len(places))
    for bin in BINS:
        (row,) = by(done.found.loss, variant="exact", bin=bin)
        means = [mean for of_bin, mean, _ in each.values() if of_bin == bin]
        assert row.proteins == len(means) and row.targets == sum(n for b, _, n in each.values() if b == bin)
        assert abs(row.nats - np.mean(means)) < 1e-5 * 10
        assert abs(row.standard_error - np.std(means, ddof=1) / len(means) ** 0.5) < 1e-5 * 10
    (beside,) = by(done.found.loss, variant="windows", bin=130)
    (exact,) = by(done.found.loss, variant="exact", bin=130)
    assert beside.difference is None and abs(exact.difference - (exact.nats - beside.nats)) < 1e-9
    assert {row.difference for row in by(done.found.loss, variant="truncate", bin=60)} == {0}
    (cut,) = by(done.found.loss, variant="truncate", bin=130)
    assert cut.targets < exact.targets
    assert {row.variant for row in done.edges} == {"windows", "windows:20", "truncate"}


def test_pairs_are_residues_that_both_predict(model: Path, fasta: Path, tmp_path: Path):
    done = run(model, fasta, tmp_path, "truncate", "loss")
    parts = [pq.read_table(path).to_pylist() for path in (tmp_path / "parts").glob("loss-130-*")]
    cut, whole = sorted(parts, key=len)
    other = {(row["key"], row["place"]): row["nats"] for row in whole}
    away: dict[bytes, list[float]] = {}
    for row in cut:
        away.setdefault(row["key"], []).append(row["nats"] - other[row["key"], row["place"]])
    means = [np.mean(values) for values in away.values()]
    (found,) = by(done.found.loss, variant="truncate", bin=130)
    assert abs(found.difference - np.mean(means)) < 1e-9
    assert abs(found.difference_se - np.std(means, ddof=1) / len(means) ** 0.5) < 1e-9


def test_what_a_model_cannot_do_is_said_and_the_others_go_on(fasta: Path, tmp_path: Path):
    directory = build("ankh", tmp_path / "ankh", layers=2, hidden=32)
    done = run(directory, fasta, tmp_path / "out", "exact", "fidelity", "loss")
    lost = {(one.block, one.variant): one.why for one in done.left_out}
    assert set(lost) == {("fidelity", "windows"), ("loss", "windows"), ("loss", "exact")}
    assert "no language-model head" in lost["loss", "exact"]
    assert by(done.found.fidelity, variant="exact")


def test_a_killed_comparison_goes_on(model: Path, fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = run(model, fasta, tmp_path / "whole", "exact,local:3", "fidelity", "loss")
    done: list[str] = []

    def killed(*given: Any) -> Any:
        done.append(f"{given[2]} {given[1][0].bin}")
        if len(done) == 4:
            raise KeyboardInterrupt
        return kept(*given)

    kept = loss.loss_of_residues
    monkeypatch.setattr(loss, "loss_of_residues", killed)
    with pytest.raises(KeyboardInterrupt):
        run(model, fasta, tmp_path / "again", "exact,local:3", "fidelity", "loss")
    again = run(model, fasta, tmp_path / "again", "exact,local:3", "fidelity", "loss")
    assert done == ["windows 30", "windows 60", "windows 130", "exact 130", "exact 130", "local:3 30", "local:3 60",
                    "local:3 130"]  # fmt: skip
    assert asdict(again.found) == asdict(whole.found)
    monkeypatch.setattr(loss, "loss_of_residues", None)  # what is called again fails
    monkeypatch.setattr(fidelity, "fidelity", None)
    third = run(model, fasta, tmp_path / "again", "exact,local:3", "fidelity", "loss")
    assert asdict(third.found) == asdict(whole.found)


def test_proteins_that_a_run_would_reject_are_counted_and_have_no_loss(model: Path, fasta: Path, tmp_path: Path):
    done = run(model, fasta, tmp_path, "nystrom:1", "loss")
    encoder = VariantEncoders(open_checkpoint(str(model)), "cpu").load(compared_variant("nystrom:1"))
    drawn = draw_proteins(str(fasta), BINS, 4, 0).of(130)
    embedded = [
        one.index for one in encoder.embed([protein.sequence for protein in drawn]) if isinstance(one, Embedded)
    ]
    assert len(embedded) < 4
    found = by(done.found.loss, variant="nystrom:1", bin=130)
    assert [row.proteins for row in found] == ([len(embedded)] if embedded else [])
    assert f"nystrom:1, up to 130 residues: a run would reject {4 - len(embedded)} of 4 proteins" in " ".join(
        done.notes
    )


def test_another_seed_masks_other_residues_of_the_same_proteins(model: Path, fasta: Path, tmp_path: Path):
    encoders = VariantEncoders(open_checkpoint(str(model)), "cpu")
    default = encoders.fitted(compared_variant("windows"))
    drawn, parts = draw_proteins(str(fasta), BINS, 4, 0), FinishedParts(tmp_path)

    def places(seed: int) -> list[int]:
        block = blocks.Blocks(encoders, default, drawn, seed, parts, LineReporter(loudness="quiet"))
        return block.losses([default])["windows", 130]["place"].to_pylist()

    assert places(0) == places(0) != places(1)


def test_windows_share_a_quarter_of_a_short_trained_length(model: Path):
    encoders = VariantEncoders(open_checkpoint(str(model)), "cpu")
    wanted = {"windows": 15, "int8": 15, "windows:20": 20, "windows:average": 0, "truncate": None, "exact": None}
    assert {text: encoders.fitted(compared_variant(text)).fields.get("window_overlap") for text in wanted} == wanted
