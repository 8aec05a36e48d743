"""Real proteins through the main job: counts from line-counting, vectors from plain transformers."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from protea_ray.cluster.progress import LineReporter
from protea_ray.config.run import run_config
from protea_ray.pipeline.accounting import Summary
from protea_ray.pipeline.embed import embed
from protea_ray.pipeline.worker import EncoderSpec
from tests import stores
from tests.plain import PlainEsm
from tests.shared_data import shared

pytestmark = pytest.mark.usefixtures("cluster")

RECIPES = [
    {"layers": [0]},
    {"layers": [0, 1, 2], "layer_agg": "mean"},
    {"layers": [0, 1, 2], "layer_agg": "concat"},
]


def run(inputs: list[Path], store: Path, model: Path, spec: Callable[..., EncoderSpec] = EncoderSpec) -> Summary:
    fields = {"model": str(model), "store_dtype": "float32", "recipes": RECIPES}
    return embed([str(i) for i in inputs], str(store), run_config(fields), LineReporter(), spec)


@pytest.mark.slow
def test_quickstart_proteomes(esm2: Path, tmp_path: Path) -> None:
    fasta = shared("quickstart/quickstart_1500.fasta")
    summary = run([fasta], tmp_path / "s", esm2)

    assert summary.records == fasta.read_bytes().count(b">") == 1500
    letters, plain = stores.sequences(tmp_path / "s"), PlainEsm(esm2)
    short = sorted(key for key, sequence in letters.items() if len(sequence) <= 1022)
    chosen = random.Random(9).sample(short, 5)
    for recipe, count in zip(RECIPES, summary.spaces, strict=True):
        assert (count.stored + count.duplicate, count.rejected) == (1500, 0)
        found = stores.vectors(tmp_path / "s", table=tmp_path / "s" / f"{count.space}.lance")
        assert len(found) == count.stored == len(letters)
        for key in chosen:
            expected = plain.mean(letters[key], recipe["layers"], recipe.get("layer_agg", "mean"))
            np.testing.assert_allclose(found[key], expected, atol=1e-5)


def test_dirty_files_are_stored_or_rejected_to_the_last_record(
    esm2: Path, spec: Callable[..., EncoderSpec], tmp_path: Path
) -> None:
    files = sorted(shared("dirty_dev/some_proteins.fasta").parent.iterdir())
    summary = run(files, tmp_path / "s", esm2, spec)
    headers = sum(line.startswith(b">") for file in files for line in file.read_bytes().splitlines())
    aligned = shared("dirty_dev/1a3a_1_A.a3m").read_bytes().count(b">")  # every record has gaps, one has no id

    assert summary.records == headers
    count = summary.spaces[0]
    assert count.rejected == aligned
    assert count.stored + count.duplicate == headers - aligned
    assert len(stores.sequences(tmp_path / "s")) == count.stored
