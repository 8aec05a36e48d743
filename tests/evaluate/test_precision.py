"""Half precision against float32: the figures of plain loops over what `embed_dataset` returns, and who is compared."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from jobs import precision as job
from protea_ray.cluster.progress import LineReporter
from protea_ray.encoder.in_memory import embed_dataset
from protea_ray.errors import ConfigError, InputError
from protea_ray.evaluate import precision
from protea_ray.evaluate.precision import precision_table
from protea_ray.evaluate.sampled_proteins import from_files, from_store
from protea_ray.testing.random_checkpoint import build as build_checkpoint
from tests.store import build

QUIET = LineReporter(loudness="quiet")
LETTERS = "ACDEFGHIKLMNPQRSTVWY"
SEQUENCES = ["".join(random.Random(n).choices(LETTERS, k=7 + 9 * n)) for n in range(8)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.set_num_threads(1)
    return str(build_checkpoint("esm2", tmp_path_factory.mktemp("model") / "esm2", layers=2))


def figures(model: str, sequences: list[str]) -> dict[str, float]:
    """The same by loops over proteins and residues."""
    exact, half = (
        embed_dataset(sequences, model, full_embeddings=True, dtype=dtype, device="cpu")
        for dtype in ("float32", "bfloat16")
    )
    errors, relatives, residues, means = [], [], [], []
    for sequence in sequences:
        a, b = (found[sequence].astype(np.float64) for found in (exact, half))
        errors.append(sum((x - y) ** 2 for x, y in zip(a.ravel(), b.ravel(), strict=True)) / a.size)
        relatives.append(errors[-1] / (sum(x * x for x in a.ravel()) / a.size))
        residues += [cosine(x, y) for x, y in zip(a, b, strict=True)]
        means.append(cosine(np.sum(a, axis=0) / len(a), np.sum(b, axis=0) / len(b)))
    return {
        "mse": sum(errors) / len(errors), "relative": sum(relatives) / len(relatives),
        "residue_cosine": sum(residues) / len(residues), "pooled_cosine": sum(means) / len(means),
        "lowest_cosine": min(means),
    }  # fmt: skip


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def test_the_figures_are_those_of_plain_loops(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = figures(model, SEQUENCES)
    monkeypatch.setattr(precision, "_BLOCK_RESIDUES", 60)  # several blocks, and proteins longer than one
    table = precision_table(model, SEQUENCES, ["float16", "bfloat16"], "cpu", QUIET)
    half, row = table.measured
    assert (row.dtype, row.proteins, row.residues, row.note) == ("bfloat16", 8, sum(map(len, SEQUENCES)), "")
    assert row.mse is not None
    assert row.mse > 1e-6
    for name, value in wanted.items():
        from_one = 1.0 if name.endswith("cosine") else 0.0  # what cosines differ from 1 by is 1e-4 or less
        assert abs(getattr(row, name) - from_one) == pytest.approx(abs(value - from_one), rel=1e-3), name
    assert 1 - (row.lowest_cosine or 0) > 1e-7
    assert (half.dtype, half.proteins, half.mse, half.note) == ("float16", 0, None, "needs a GPU")


def test_a_table_is_text_and_json(model: str) -> None:
    table = precision_table(model, SEQUENCES[:2], ["float16", "bfloat16"], "cpu", QUIET)
    assert len({len(table.columns()), *map(len, table.rows())}) == 1
    assert table.rows()[0][3:] == ["-", "-", "-", "-", "-", "needs a GPU"]
    assert repr(table).startswith(f"{model} on ")
    found = json.loads(json.dumps(table.to_json()))
    assert found["measured"][1]["mse"] == table.measured[1].mse
    assert set(found["files"]) == {"model.safetensors", "config", "vocabulary"}
    assert found["trained"] is True


def test_what_overflows_is_left_out_and_counted(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = precision._matrices

    def some(encoder: object, sequences: list[str]) -> list[np.ndarray | None]:
        found = real(encoder, sequences)  # type: ignore[arg-type]
        return found if encoder.recipes[0].dtype == "float32" else [None, *found[1:]]  # type: ignore[attr-defined]

    monkeypatch.setattr(precision, "_matrices", some)
    (row,) = precision_table(model, SEQUENCES[:3], ["bfloat16"], "cpu", QUIET).measured
    assert (row.proteins, row.residues) == (2, sum(map(len, SEQUENCES[1:3])))
    assert row.note == "1 left out: not finite, or too long for memory"


def test_mistakes(model: str) -> None:
    with pytest.raises(ConfigError, match="int8: not a half precision; choose from float16, bfloat16"):
        precision_table(model, SEQUENCES, ["int8"], "cpu", QUIET)
    with pytest.raises(InputError, match="no proteins"):
        precision_table(model, [], ["bfloat16"], "cpu", QUIET)


def fasta(path: Path, numbers: list[int]) -> str:
    path.write_text("".join(f">P{n}\n{build.sequence(n)}\n" for n in numbers))
    return str(path)


def test_the_same_proteins_are_drawn_from_a_store_and_from_a_file(tmp_path: Path) -> None:
    store = build.store(tmp_path / "s", range(30)).uri
    files = fasta(tmp_path / "a.fasta", [*range(29, -1, -1), 3])
    drawn = from_store(store, 12, 0)
    assert drawn == from_files([files], 12, 0)
    assert len(set(drawn)) == 12
    assert drawn == from_store(store, 20, 0)[:12]
    assert drawn != from_store(store, 12, 1)
    assert set(from_store(store, 99, 0)) == {build.sequence(n) for n in range(30)}


def test_the_job(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--fasta", fasta(tmp_path / "a.fasta", list(range(6))), "--proteins", "4", "--dtypes", "bfloat16"]
    job.run([model, *given, "--device", "cpu", "--out", str(tmp_path / "out.json")])
    said = capsys.readouterr().out
    assert said.splitlines()[0].startswith(f"{model} on ")
    written = json.loads((tmp_path / "out.json").read_text())
    assert (written["drawn"], written["measured"][0]["proteins"]) == (4, 4)
    with pytest.raises(SystemExit) as left:
        job.run([model])
    assert left.value.code == 2
    assert "--store STORE or --fasta FILE" in capsys.readouterr().err


def test_a_gpu_is_called_what_torch_calls_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda place: f"card {place.index}")
    encoders: dict[str, Any] = {
        place: SimpleNamespace(core=SimpleNamespace(device=torch.device(place))) for place in ("cuda:1", "cpu")
    }
    named = {place: precision._name(encoder) for place, encoder in encoders.items()}
    assert named["cuda:1"] == "card 1"
    assert named["cpu"].endswith(" CPU")
