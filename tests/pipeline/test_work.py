"""The steps of a run between its ingest and its commits, one by one and without Ray."""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pytest

from protea_ray.cluster.ray_metrics import ACTOR_MEMORY, ACTOR_RESIDUES, BUDGET, WAITING
from protea_ray.config.recipe import embedding_config
from protea_ray.config.resolution import resolve
from protea_ray.encoder.collect import Embedded
from protea_ray.errors import CheckpointError
from protea_ray.models.checkpoint import open_checkpoint
from protea_ray.pipeline import attempts
from protea_ray.pipeline.acceptance import RECOMPUTED, _first_row, _sample
from protea_ray.pipeline.calibration import Calibration
from protea_ray.pipeline.targets import make_targets
from protea_ray.pipeline.worker import EmbedUnits
from protea_ray.plan.cost import Cost
from protea_ray.store.location import Location, open_location
from protea_ray.store.spaces import ensure_space
from tests.recorded_metrics import RecordedMetrics
from tests.store import build
from tests.toy import BUDGET as BUDGET_OF_TOY
from tests.toy import ToySpec

KEYS = [bytes([n]) * 16 for n in range(5)]


@pytest.fixture
def location(tmp_path: Path) -> Location:
    return open_location(tmp_path / "store")


def embed_units(esm2: Path, location: Location, monkeypatch: pytest.MonkeyPatch) -> tuple[EmbedUnits, list[str]]:
    """A worker of two recipes and their spaces; Ray's key-value store is a dictionary."""
    kept: dict[str, str] = {}
    monkeypatch.setattr(attempts.internal_kv, "_internal_kv_get", lambda key, **_: kept.get(key))
    monkeypatch.setattr(attempts.internal_kv, "_internal_kv_put", lambda key, value, **_: kept.update({key: value}))
    monkeypatch.setattr(attempts.internal_kv, "_internal_kv_del", lambda key, **_: kept.pop(key, None))
    checkpoint = open_checkpoint(str(esm2))
    fields: list[dict[str, Any]] = [{"pooling": ["mean"]}, {"pooling": ["max"], "layers": [0]}]
    recipes = [resolve(embedding_config({"model": str(esm2), **f}), checkpoint.facts, "cpu", None) for f in fields]
    targets = make_targets(location, checkpoint, recipes, "run")
    spec = ToySpec(str(esm2), None, checkpoint.path, platform.node(), checkpoint.files, "esm2", "cpu", None)
    return EmbedUnits(spec, targets, "run"), [t.space for t in targets]


def unit(masks: list[int]) -> dict[str, Any]:
    """The row of a unit of five proteins, wanted by the spaces of these bits."""
    proteins = [
        {"id": f"p{n}", "key": KEYS[n], "sequence": "MKTAYIAKQR" + "A" * n, "source": "s", "line": n} for n in range(5)
    ]
    return {"unit": "run.0", "seconds": 1.0, "masks": masks, "proteins": proteins}


def test_a_protein_that_one_space_lacks_is_written_to_that_one(
    esm2: Path, location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Masks of five proteins: the first space lacks 0, 2 and 4, the second 1, 2 and nobody else."""
    worker, spaces = embed_units(esm2, location, monkeypatch)

    result = worker._embed(unit(masks=[0b01, 0b10, 0b11, 0b00, 0b01]))

    assert [result["spaces"][space]["stored"] for space in spaces] == [3, 2]
    assert [len(result["spaces"][space]["fragments"]) for space in spaces] == [1, 1]
    assert result["rejects"] == []


def test_an_actor_records_each_unit(
    esm2: Path, location: Location, monkeypatch: pytest.MonkeyPatch, recorded: RecordedMetrics
) -> None:
    worker, _ = embed_units(esm2, location, monkeypatch)
    table = pa.Table.from_pylist([unit(masks=[0b11] * 5)])
    residues = sum(10 + n for n in range(5))

    worker(table)
    worker(table)

    assert recorded.total(ACTOR_RESIDUES, run="run", family="esm2") == 2 * residues
    assert recorded.total(WAITING) > 0 and recorded.last(BUDGET) == BUDGET_OF_TOY
    assert recorded.last(ACTOR_MEMORY) > 1 << 20


def test_a_protein_that_killed_its_worker_twice_is_a_reject_and_the_others_are_stored(
    esm2: Path, location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, spaces = embed_units(esm2, location, monkeypatch)
    log = attempts.AttemptLog("run")
    for _ in range(2):
        log.begin("run.0")
    for _ in range(attempts.DEATHS_TO_REJECT):
        log.begin("run.0")
        log.hold("run.0", KEYS[3])

    result = worker._embed(unit(masks=[0b11, 0b11, 0b01, 0b11, 0b11]))

    assert [result["spaces"][space]["stored"] for space in spaces] == [4, 3]
    assert [(r["id"], r["key"], r["source"], r["line"], r["space"], r["reason"]) for r in result["rejects"]] == [
        ("p3", KEYS[3].hex(), "s", 3, space, "kills_worker") for space in spaces
    ]
    assert {r["detail"] for r in result["rejects"]} == {"the worker died 2 times on it alone"}
    assert (result["attempt"], result["proteins"]) == (5, 5)


def test_other_weights_under_a_commit_that_is_recorded_are_refused(esm2: Path, location: Location) -> None:
    """The same commit with the same weights is taken, another commit or a directory may have others."""
    commit = 40 * "a"
    checkpoint = replace(open_checkpoint(str(esm2)), model="lab/model", revision=commit)
    recipe = resolve(embedding_config({"model": str(esm2)}), checkpoint.facts, "cpu", commit)
    others = checkpoint.files | {"model.safetensors": 64 * "0"}

    (first,) = make_targets(location, checkpoint, [recipe], "run")
    assert make_targets(location, checkpoint, [recipe], "again")[0].space == first.space

    known = {"model": "lab/model", "revision": commit, "files": others}
    ensure_space(location, build.info("other-00000001", checkpoint=known), build.schema())
    with pytest.raises(CheckpointError, match=r"not those that were recorded.*model\.safetensors: recorded 0000000"):
        make_targets(location, checkpoint, [recipe], "run")
    for free in (None, 40 * "b"):
        assert make_targets(location, replace(checkpoint, revision=free), [recipe], "run")


@pytest.mark.parametrize("chunks", [1, 2, 3])
def test_acceptance_compares_the_first_row_of_a_protein_in_chunks(chunks: int) -> None:
    """Of each pooling the first vector, and the mean of the first matrix, side by side."""
    vectors = np.arange(chunks * 4, dtype=np.float16).reshape(chunks, 4)
    matrices = tuple(np.full((6, 3), 10.0 + n, np.float16) for n in range(chunks))
    spans = np.array([(5 * n, 5 * n + 6) for n in range(chunks)], np.int32)
    found = Embedded(0, 0, spans, {"mean": vectors, "max": -vectors}, matrices, 5 * chunks + 1, chunks, False)

    assert _first_row(found).tolist() == [0, 1, 2, 3, 0, -1, -2, -3, 10, 10, 10]
    assert _first_row(replace(found, residues=None)).tolist() == [0, 1, 2, 3, 0, -1, -2, -3]


@pytest.mark.parametrize("remembered", [False, True])
def test_only_a_calibration_of_this_run_tells_its_seconds(remembered: bool) -> None:
    recipe = embedding_config({"model": "m"})
    made = Calibration(Cost(1.0, 2.0), 12.5, 3.25, "2 cores", "sdpa", "plain", 4096, False, remembered)

    told = made.lines(recipe)

    assert told[0] == "2 cores, sdpa, plain, packs of 4,096 tokens"
    assert told[1:] == ([] if remembered else ["model loaded in 12.5 s, first pass in 3.2 s"])
    assert made.measured_first_forward == (None if remembered else 3.25)


def test_acceptance_looks_at_rows_of_the_whole_table(tmp_path: Path) -> None:
    """3,000 proteins, shorter and shorter: the shortest of evenly spaced ones are at the end, of the first 256 not."""
    rows = 3000
    table = lance.write_dataset(
        pa.table({"n_residues": list(range(rows + 10, 10, -1)), "chunk_start": [0] * rows}), str(tmp_path / "t.lance")
    )
    sample = _sample(table)

    assert len(sample) == RECOMPUTED
    assert max(sample) == rows - 1
    steps = {later - earlier for earlier, later in zip(sorted(sample), sorted(sample)[1:], strict=False)}
    assert steps <= {11, 12}  # 3,000 rows in 256 steps
