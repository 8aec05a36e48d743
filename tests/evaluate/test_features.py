"""Vectors of a task's proteins from stores, chunks and files, against what was put in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protea_ray.errors import ConfigError, InputError
from protea_ray.evaluate.composition import composition
from protea_ray.evaluate.controls import random_vectors
from protea_ray.evaluate.features import features
from protea_ray.evaluate.inputs import COMPOSITION, RANDOM, Input
from protea_ray.evaluate.task import REGRESSION, Task
from protea_ray.query.view import View
from protea_ray.store.commit import write_fragments
from protea_ray.store.location import Location
from protea_ray.store.rows import space_rows, space_schema
from protea_ray.store.spaces import ensure_space
from tests.evaluate.numbered_tasks import halves, made_task
from tests.store import build

SPACE = build.info().name


def task_of(count: int) -> Task:
    return made_task(REGRESSION, np.arange(count, dtype=np.float64), halves(count))


def stored(location: Location, space: str = SPACE, pooling: str = "mean", **fields: Any) -> Input:
    pin = View.open(location, space).pin
    return Input("subject", build.WIDTH, "", pin.space, pin.version, pin.proteins, pooling, "m", **fields)


def test_a_space_at_its_pin_in_the_order_of_the_task(tmp_path: Path) -> None:
    """The rows lie in another order, among other proteins, and the store grows after the pin."""
    location = build.store(tmp_path / "s", [*range(40, 20, -1), 3, 1, 0, 2, *range(4, 20)], per_unit=7)
    given = stored(location)
    more = range(100, 110)
    build.ingest(location, build.proteins(more, "b"), "b", "d2")
    build.fill(location, SPACE, more, "r2.0", build.schema())
    found = features(given, task_of(12), location.uri)
    assert found.dtype == np.float32
    assert np.array_equal(found, np.stack([build.vector(n) for n in range(12)]))


def test_a_protein_without_a_vector_is_named(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(9))
    with pytest.raises(InputError, match=r"subject has no vector of 3 of 12 proteins of made: P00009, P00010, P00011"):
        features(stored(location), task_of(12), location.uri)
    with pytest.raises(ConfigError, match=r"esm2-00000001 has no pooling max; it has mean"):
        features(stored(location, pooling="max"), task_of(3), location.uri)


def chunked(root: Path, rows: list[tuple[int, int, int]], values: list[float], pooling: str = "mean") -> Location:
    """A store of proteins 0 to 2 with one stored row for each (protein, start, end), which is `value` everywhere."""
    location = build.store(root, range(3))
    of = space_schema({pooling: build.WIDTH}, "float16", None, {})
    info = build.info("chunks-00000001", config={"model": "m", "pooling": [pooling], "chunk_size": 4})
    ensure_space(location, info, of)
    vectors = [np.full(build.WIDTH, value, np.float32) for value in values]
    lengths = [len(build.sequence(n)) for n, _, _ in rows]
    table = space_rows(
        of, keys=[build.key(n) for n, _, _ in rows], unit="r1.0", spans=[(a, b) for _, a, b in rows],
        n_residues=lengths, n_residues_seen=lengths, n_windows=[1] * len(rows), truncated=[False] * len(rows),
        vectors={pooling: vectors},
    )  # fmt: skip
    uri = location.table(info.name)
    build.writer().append(uri, write_fragments(uri, table, of))
    return location


def test_chunks_are_weighted_by_their_residues(tmp_path: Path) -> None:
    """By hand: (4 * 1 + 2 * 4) / 6 = 2, (4 * 2 + 4 * 3 + 1 * 7) / 9 = 3, and a protein of one chunk."""
    rows = [(1, 4, 8), (0, 0, 4), (1, 0, 4), (2, 0, 3), (1, 8, 9), (0, 4, 6)]
    location = chunked(tmp_path / "s", rows, [3, 1, 2, 5, 7, 4])
    found = features(stored(location, "chunks-00000001"), task_of(3), location.uri)
    assert found.dtype == np.float32
    assert found.tolist() == [[2] * build.WIDTH, [3] * build.WIDTH, [5] * build.WIDTH]


def test_other_poolings_of_chunks_are_refused(tmp_path: Path) -> None:
    location = chunked(tmp_path / "s", [(0, 0, 4), (0, 4, 6)], [1, 2], "max")
    with pytest.raises(ConfigError, match=r"chunks-00000001 stores chunks, and a protein's max does not follow"):
        features(stored(location, "chunks-00000001", "max"), task_of(1), location.uri)


def test_controls_need_no_store() -> None:
    task = task_of(5)
    found = features(Input("random 16", 16, RANDOM), task, "nowhere")
    assert np.array_equal(found, random_vectors(task.keys, 16))
    assert np.array_equal(features(Input("composition", 20, COMPOSITION), task, ""), composition(list(task.sequences)))


def vectors_file(path: Path, vectors: dict[str, np.ndarray]) -> Input:
    """A file as biotrainer writes it: numbered data sets with the id as an attribute."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for number, (id, values) in enumerate(vectors.items()):
            file.create_dataset(str(number), data=values).attrs["original_id"] = id
    return Input("mine.h5", 4, "", str(path), source="ab12")


def test_a_file_of_vectors_by_id(tmp_path: Path) -> None:
    """Ids match as in `import`: P00002 stands there as sp|P00002|X."""
    draw = np.random.default_rng(0)
    made = {f"P{n:05d}": draw.normal(size=4).astype(np.float32) for n in (5, 0, 1, 4, 3)}
    third = draw.normal(size=(1, 4))
    given = vectors_file(tmp_path / "v.h5", {**made, "sp|P00002|X_HUMAN": third})
    found = features(given, task_of(4), "")
    assert found.dtype == np.float32
    expected = [made["P00000"], made["P00001"], third[0].astype(np.float32), made["P00003"]]
    assert np.array_equal(found, np.stack(expected))


def test_a_file_that_is_not_one_vector_a_protein(tmp_path: Path) -> None:
    ones = np.ones(4, np.float32)
    lacking = vectors_file(tmp_path / "a.h5", {"P00000": ones})
    with pytest.raises(InputError, match=r"mine.h5 has no vector of 1 of 2 proteins of made: P00001"):
        features(lacking, task_of(2), "")
    residues = vectors_file(tmp_path / "b.h5", {"P00000": ones, "P00001": np.ones((7, 4))})
    with pytest.raises(InputError, match=r"P00001 has \(7, 4\) where one vector of numbers is wanted"):
        features(residues, task_of(2), "")
    uneven = vectors_file(tmp_path / "c.h5", {"P00000": ones, "P00001": np.ones(5)})
    with pytest.raises(InputError, match=r"vectors of 2 widths, 4 and 5"):
        features(uneven, task_of(2), "")
    damaged = vectors_file(tmp_path / "e.h5", {"P00000": ones, "P00001": ones * np.nan})
    with pytest.raises(InputError, match=r"mine.h5: the vectors of P00001 hold values that are not finite"):
        features(damaged, task_of(2), "")
    (tmp_path / "d.h5").write_bytes(b"no such thing")
    with pytest.raises(InputError, match=r"cannot be read as HDF5"):
        features(Input("mine.h5", 4, "", str(tmp_path / "d.h5"), source="ab"), task_of(2), "")
