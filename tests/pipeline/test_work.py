"""What is wanted of each space, and that a worker writes to no other, without Ray."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import pytest

from protea_ray.config.recipe import embedding_config, resolve
from protea_ray.models.checkpoint import open_checkpoint
from protea_ray.pipeline import attempts, work
from protea_ray.pipeline.acceptance import RECOMPUTED, _sample
from protea_ray.pipeline.embed import make_targets
from protea_ray.pipeline.worker import EmbedUnits
from protea_ray.sequences.records import KEY
from protea_ray.store.location import Location, open_location
from tests.toy import ToySpec

KEYS = [bytes([n]) * 16 for n in range(5)]


def keys(*numbers: int) -> pa.Array:
    return pa.array([KEYS[n] for n in numbers], KEY)


@pytest.mark.parametrize(("retry", "wanted"), [(False, [2, 4]), (True, [1, 2, 3, 4])])
def test_rejects_of_earlier_runs_are_wanted_only_when_they_are_retried(
    retry: bool, wanted: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protein 0 has its vector, 1 and 3 were rejected, 2 and 4 are new."""
    records = pa.table({"key": keys(0, 1, 2, 3, 4), "length": [10, 11, 12, 13, 14], "_rowid": [70, 71, 72, 73, 74]})
    monkeypatch.setattr(work, "proteins_of", lambda *_, **__: records)
    monkeypatch.setattr(work, "rejected_keys", lambda *_: keys(1, 3))
    monkeypatch.setattr(work, "keys_of", lambda *_: keys(0))

    facts, found = work._find(open_location(tmp_path), None, ["space"], retry, None, None)

    assert found["row"].to_pylist() == [70 + n for n in wanted]
    assert (facts["proteins"], facts["residues"]) == (len(wanted), sum(10 + n for n in wanted))


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


def test_a_protein_that_one_space_lacks_is_written_to_that_one(
    esm2: Path, location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Masks of five proteins: the first space lacks 0, 2 and 4, the second 1, 2 and nobody else."""
    worker, spaces = embed_units(esm2, location, monkeypatch)
    masks = [0b01, 0b10, 0b11, 0b00, 0b01]
    proteins = [
        {"id": f"p{n}", "key": KEYS[n], "sequence": "MKTAYIAKQR" + "A" * n, "source": "s", "line": n} for n in range(5)
    ]
    table = pa.table({"unit": ["run.0"], "seconds": [1.0], "masks": [masks], "proteins": [proteins]})

    (result,) = [worker._embed(row) for row in table.to_pylist()]

    assert [result["spaces"][space]["stored"] for space in spaces] == [3, 2]
    assert [len(result["spaces"][space]["fragments"]) for space in spaces] == [1, 1]
    assert result["rejects"] == []


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
