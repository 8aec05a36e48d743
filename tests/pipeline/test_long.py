"""Long proteins through the whole pipeline: what is stored says what was seen, and a crop reads only its bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pytest

from protea_ray.cluster.progress import LineReporter
from protea_ray.config.run import run_config
from protea_ray.pipeline.accounting import Summary
from protea_ray.pipeline.dry_run import dry_run
from protea_ray.pipeline.embed import embed
from protea_ray.pipeline.worker import EncoderSpec
from protea_ray.query.reader import open_store
from tests.encoder.conftest import proteins
from tests.encoder.reference import Reference

pytestmark = pytest.mark.usefixtures("cluster")

TOLERANCE = 1e-5
Spec = Callable[..., EncoderSpec]
CUT = {"max_residues": 100, "window_overlap": 30, "store_dtype": "float32", "normalize": False}
CHUNKS = {"chunk_size": 80, "chunk_overlap": 20}
LONG = [(0, 85), (55, 140), (110, 195), (165, 250)]  # windows of 250 residues under CUT
LENGTHS = (100, 101, 250)


@pytest.fixture(scope="module")
def fasta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "long.fasta"
    path.write_text("".join(f">P{len(s)}\n{s}\n" for s in proteins(*LENGTHS)))
    return path


def settings(model: Path, **fields: Any) -> Any:
    return run_config({"model": str(model), **CUT, "run": {"actors": 1}, **fields})


def run(fasta: Path, store: Path, model: Path, spec: Spec = EncoderSpec, **fields: Any) -> Summary:
    return embed([str(fasta)], str(store), settings(model, **fields), LineReporter(), spec)


@pytest.fixture(scope="module")
def windowed(fasta: Path, esm2: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """One run: whole proteins, posthoc chunks, independent chunks."""
    store = tmp_path_factory.mktemp("store") / "s"
    recipes = [
        {"pooling": ["mean", "none"]},
        {**CHUNKS, "chunk_mode": "posthoc", "pooling": ["mean", "none"]},
        {**CHUNKS, "pooling": ["mean"]},
    ]
    return store, [c.space for c in run(fasta, store, esm2, recipes=recipes).spaces]


FACTS = ["chunk_start", "chunk_end", "n_residues", "n_residues_seen", "n_windows", "truncated"]


def facts(store: Path, space: str, length: int) -> list[tuple[Any, ...]]:
    """What is stored beside the vectors of the protein of this length."""
    rows = lance.dataset(str(store / f"{space}.lance")).to_table(columns=FACTS, filter=f"n_residues = {length}")
    return [tuple(row.values()) for row in rows.sort_by("chunk_start").to_pylist()]


def test_windows_leave_one_row_that_saw_everything(windowed: tuple[Path, list[str]]) -> None:
    store, spaces = windowed

    assert facts(store, spaces[0], 100) == [(0, 100, 100, 100, 1, False)]
    assert facts(store, spaces[0], 101) == [(0, 101, 101, 101, 2, False)]
    assert facts(store, spaces[0], 250) == [(0, 250, 250, 250, 4, False)]


def test_chunks_leave_a_row_for_each_span(windowed: tuple[Path, list[str]]) -> None:
    store, spaces = windowed
    spans = [(0, 80), (60, 140), (120, 200), (180, 250), (240, 250)]

    assert facts(store, spaces[1], 250) == [(*span, 250, 250, 4, False) for span in spans]  # windows of the whole
    assert facts(store, spaces[2], 250) == [(*span, 250, 250, 5, False) for span in spans]  # each span alone
    assert facts(store, spaces[2], 101) == [(0, 80, 101, 101, 2, False), (60, 101, 101, 101, 2, False)]


@pytest.mark.slow
def test_truncation_says_how_much_was_seen(fasta: Path, esm2: Path, tmp_path: Path) -> None:
    recipes = [{}, {**CHUNKS, "pooling": ["mean", "none"]}]
    summary = run(fasta, tmp_path / "s", esm2, on_long="truncate", recipes=recipes)
    whole, chunked = (c.space for c in summary.spaces)

    assert facts(tmp_path / "s", whole, 250) == [(0, 100, 250, 100, 1, True)]
    assert facts(tmp_path / "s", whole, 100) == [(0, 100, 100, 100, 1, False)]
    assert facts(tmp_path / "s", chunked, 250) == [(0, 80, 250, 100, 2, True), (60, 100, 250, 100, 2, True)]
    expected = Reference("esm2", esm2).residues(proteins(*LENGTHS)[2][:100])[-1].mean(0)
    found = open_store(tmp_path / "s").get("P250", space=whole)["mean"][0].as_py()
    assert np.abs(np.array(found) - expected).max() < TOLERANCE


@pytest.mark.slow
def test_averaged_windows_leave_one_row_that_saw_everything(fasta: Path, esm2: Path, tmp_path: Path) -> None:
    summary = run(fasta, tmp_path / "s", esm2, stitch="average", window_overlap=0)
    (space,) = (c.space for c in summary.spaces)
    store = open_store(tmp_path / "s")

    assert [facts(tmp_path / "s", space, n)[0][4] for n in LENGTHS] == [1, 2, 3]
    assert facts(tmp_path / "s", space, 250) == [(0, 250, 250, 250, 3, False)]
    assert store.verify().state == "sound"
    sequence = proteins(*LENGTHS)[2]
    rows = [Reference("esm2", esm2).residues(sequence[at : at + 100])[-1] for at in (0, 100, 200)]
    first = np.mean([part[:50] for part in rows], 0)
    expected = np.concatenate([first, np.mean([part[50:] for part in rows[:2]], 0)]).mean(0)
    assert np.abs(np.array(store.get("P250", space=space)["mean"][0].as_py()) - expected).max() < TOLERANCE


def test_rejection_is_accounted_for_and_not_tried_again(fasta: Path, esm2: Path, spec: Spec, tmp_path: Path) -> None:
    first = run(fasta, tmp_path / "s", esm2, spec, on_long="reject")
    again = run(fasta, tmp_path / "s", esm2, spec, on_long="reject")
    rejects = lance.dataset(str(tmp_path / "s" / "rejects.lance")).to_table().to_pylist()
    retried = run(fasta, tmp_path / "s", esm2, spec, on_long="reject", run={"actors": 1, "retry_rejects": True})

    assert [(c.stored, c.rejected, c.already_present) for c in first.spaces] == [(1, 2, 0)]
    assert [(c.stored, c.rejected, c.already_present) for c in again.spaces] == [(0, 2, 1)]
    assert (again.actors, retried.actors) == (0, 1)  # tried only when it was asked for
    assert {r["id"]: (r["reason"], r["stage"]) for r in rejects} == {
        "P101": ("too_long", "embed"), "P250": ("too_long", "embed"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "windows", "rejected"),
    [
        ({}, 1 + 2 + 4, 0),
        ({"on_long": "truncate"}, 3, 0),
        ({"on_long": "reject"}, 1, 2),
        ({**CHUNKS, "on_long": "truncate"}, 3 * 2, 0),
        ({"pooling": ["cls"]}, 3, 0),
        ({"pooling": ["cls"], "stitch": "average", "window_overlap": 0}, 1 + 2 + 3, 0),
    ],
)
def test_a_dry_run_knows_the_length_rule(
    fields: dict[str, Any], windows: int, rejected: int, fasta: Path, esm2: Path, spec: Spec, tmp_path: Path
) -> None:
    (space,) = dry_run([str(fasta)], str(tmp_path / "s"), settings(esm2, **fields), LineReporter(), spec).spaces

    assert (space.windows, space.rejected, space.proteins) == (windows, rejected, 3 - rejected)


def test_a_crop_of_residues_reads_only_itself(
    windowed: tuple[Path, list[str]], esm2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, spaces = windowed
    opened: list[lance.LanceDataset] = []
    real = lance.dataset
    monkeypatch.setattr(lance, "dataset", lambda *a, **k: opened.append(real(*a, **k)) or opened[-1])
    matrix = open_store(store).residues("P250", space=spaces[0])
    for table in opened:
        table.io_stats_incremental()  # what opening and finding the row cost

    crop = matrix[100:200]

    assert sum(table.io_stats_incremental().read_bytes for table in opened) == crop.nbytes == 100 * 32 * 4
    expected = Reference("esm2", esm2).stitched(proteins(*LENGTHS)[2], LONG)[-1]
    assert np.abs(crop - expected[100:200]).max() < TOLERANCE
    chunk = open_store(store).residues("P250", chunk=1, space=spaces[1])
    assert (chunk.start, chunk.shape) == (60, (80, 32))
    assert np.abs(chunk[10:20] - expected[70:80]).max() < TOLERANCE
