"""A store that an earlier version wrote opens, answers, resumes and re-embeds (see tests/data/README.md)."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protea_ray.cluster.progress import LineReporter
from protea_ray.config.run import run_config
from protea_ray.models.untrained import MODEL_NAME
from protea_ray.pipeline.accounting import Summary
from protea_ray.pipeline.embed import embed
from protea_ray.pipeline.reembed import reembed
from protea_ray.query.reader import open_store
from protea_ray.store.location import open_location
from protea_ray.store.verify import verify
from tests import stores

pytestmark = [
    pytest.mark.usefixtures("cluster"),
    pytest.mark.filterwarnings("ignore::protea_ray.query.random_vectors.UntrainedSpaceWarning"),  # its spaces are
]

ARCHIVE = Path(__file__).parents[1] / "data" / "store-40497ec.tar.gz"
POOLED, CHUNKED = "untrained_esm2_8m-2c45a9eb", "untrained_esm2_8m-3bbdb00a"
CUT = {"model": MODEL_NAME, "max_residues": 60, "window_overlap": 20, "on_long": "window", "run": {"actors": 1}}
RECIPES: dict[str, dict[str, Any]] = {
    POOLED: {**CUT, "pooling": ["mean", "max"]},
    CHUNKED: {**CUT, "pooling": ["mean", "none"], "chunk_size": 50},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`proteins.fasta` and `store`, unpacked where no earlier version has been."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def versions(store: Path) -> dict[str, int]:
    return {table.stem: stores.version(table) for table in store.glob("*.lance") if table.stem != "lease"}


def run(fasta: Path, store: Path, recipe: Mapping[str, Any]) -> Summary:
    return embed([str(fasta)], str(store), run_config(dict(recipe)), LineReporter())


def test_it_opens_and_answers(folder: Path) -> None:
    store = open_store(folder / "store")

    status = store.status()
    assert {s.name: (s.keys, s.trained) for s in status.spaces} == {POOLED: (10, False), CHUNKED: (10, False)}
    assert status.rejects == {"illegal_letter": 1}
    assert store.pin().space == POOLED
    assert store.pin("candidate").space == POOLED
    assert len(store.get(["SYN00", "COPY"])) == 2
    assert store.residues("SYN09", chunk=1, space=CHUNKED)[:].shape == (50, 320)
    assert len(store.nearest("SYN00", k=3)) == 3


def test_it_is_sound(folder: Path) -> None:
    report = verify(open_location(folder / "store"))

    assert report.ok
    assert report.findings == ()


@pytest.mark.parametrize("space", [POOLED, CHUNKED])
def test_the_same_command_has_the_same_space_and_nothing_to_do(space: str, folder: Path) -> None:
    before = versions(folder / "store")

    summary = run(folder / "proteins.fasta", folder / "store", RECIPES[space])

    count = summary.spaces[0]
    assert (count.space, count.stored, count.rejected, summary.residues) == (space, 0, 1, 0)
    assert count.already_present == 11
    assert versions(folder / "store") == before


@pytest.mark.slow
def test_a_new_protein_joins_it_and_the_old_ones_are_computed_as_they_were(folder: Path) -> None:
    old = stores.vectors(folder / "store", table=folder / "store" / f"{POOLED}.lance")
    more = folder / "more.fasta"
    more.write_text((folder / "proteins.fasta").read_text() + ">NEW one more\nMKTAYIAKQR\n")

    summary = run(more, folder / "store", RECIPES[POOLED])
    fresh = run(folder / "proteins.fasta", folder / "fresh", RECIPES[POOLED])

    assert (summary.spaces[0].space, summary.spaces[0].stored) == (POOLED, 1)
    assert fresh.spaces[0].space == POOLED
    again = stores.vectors(folder / "fresh", table=folder / "fresh" / f"{POOLED}.lance")
    assert again.keys() == old.keys()
    for key, vector in old.items():
        np.testing.assert_allclose(again[key], vector, atol=1e-3)  # both were rounded to float16
    assert verify(open_location(folder / "store"), POOLED).ok


@pytest.mark.slow
def test_it_is_re_embedded_with_another_checkpoint(folder: Path, esm2: Path) -> None:
    done = reembed(str(folder / "store"), {"model": str(esm2), "run": {"actors": 1}}, LineReporter())

    assert (done.before, done.summary.spaces[0].stored, done.moved) == (POOLED, 10, True)
    assert open_store(folder / "store").pin().space == done.after
