"""The drift report gives the numbers that plain numpy gives, and says what it cannot know."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from protea_ray.errors import ConfigError, StoreError, UnknownSpaceError
from protea_ray.query.drift import draw, drift
from protea_ray.store import aliases
from protea_ray.store.keys import key_array
from protea_ray.store.location import Location
from protea_ray.store.rows import space_rows, space_schema
from protea_ray.store.spaces import ensure_space
from tests.store import build

N, WIDTH = 60, 16
LENGTHS = [50 * (1 + n) for n in range(N)]  # 50 to 3,000 residues: every bucket
VECTORS = np.random.default_rng(0).normal(size=(N, WIDTH)).astype(np.float32)


def put(
    location: Location, name: str, vectors: np.ndarray, numbers: Sequence[int] = range(N), pooling: str = "mean"
) -> None:
    """A space in which protein numbers[i] has vectors[i]."""
    of = space_schema({pooling: vectors.shape[1]}, "float32", None, {})
    ensure_space(location, build.info(name), of)
    lengths = [LENGTHS[n] for n in numbers]
    rows = space_rows(of, keys=[build.key(n) for n in numbers], unit=f"{name}.0", spans=[(0, x) for x in lengths],
                      n_residues=lengths, n_residues_seen=lengths, n_windows=[1] * len(lengths),
                      truncated=[False] * len(lengths), vectors={pooling: vectors})  # fmt: skip
    build.writer().append_table(location.table(name), rows)


def rotation(width: int) -> np.ndarray:
    turned, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(width, width)))
    return turned.astype(np.float32)


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> Location:
    """`old`; `same` in another row order; `turned` and `wide`, with the same angles; `other`, unrelated."""
    found = build.store(tmp_path_factory.mktemp("drift") / "s", range(N))
    order = np.random.default_rng(2).permutation(N).tolist()
    put(found, "old", VECTORS)
    put(found, "same", 3 * VECTORS[order], order)
    put(found, "turned", VECTORS @ rotation(WIDTH))
    put(found, "wide", np.pad(VECTORS, ((0, 0), (0, 8))) @ rotation(WIDTH + 8))
    put(found, "other", np.random.default_rng(3).normal(size=(N, WIDTH)).astype(np.float32))
    put(found, "few", VECTORS[:2], range(2))
    put(found, "peaks", VECTORS, pooling="max")
    aliases.move(found, "current", "old", run="r", writer=build.writer())
    return found


def neighbours(vectors: np.ndarray, k: int) -> list[set[int]]:
    """The plain way, one protein at a time."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    ranked = [sorted((m for m in range(len(unit)) if m != n), key=lambda m: -float(unit[m] @ unit[n]))
              for n in range(len(unit))]  # fmt: skip
    return [set(r[:k]) for r in ranked]


def test_the_same_vectors_agree_whatever_their_order_and_length(location: Location) -> None:
    found = drift(location, "current", "same")

    assert (found.a.space, found.b.space, found.shared, found.whole.proteins) == ("old", "same", N, N)
    assert found.whole.cosine_mean == pytest.approx(1, abs=1e-5)
    assert found.whole.overlap == 1
    assert found.notes == ()


def test_turned_axes_change_the_cosine_and_no_neighbour(location: Location) -> None:
    found = drift(location, "old", "turned")

    assert abs(found.whole.cosine_mean or 1) < 0.2
    assert found.whole.overlap == 1


def test_other_widths_have_no_cosine_but_neighbours(location: Location) -> None:
    found = drift(location, "old", "wide")

    assert (found.a.width, found.b.width) == (16, 24)
    assert found.whole.cosine_mean is None
    assert found.whole.overlap == 1
    assert "16 and 24 numbers wide" in found.notes[0]


def test_unrelated_spaces_agree_by_chance_and_as_plain_numpy_says(location: Location) -> None:
    found = drift(location, "old", "other")
    other = np.random.default_rng(3).normal(size=(N, WIDTH)).astype(np.float32)
    overlaps = [len(a & b) / 10 for a, b in zip(neighbours(VECTORS, 10), neighbours(other, 10), strict=True)]
    cosines = (VECTORS * other).sum(1) / np.linalg.norm(VECTORS, axis=1) / np.linalg.norm(other, axis=1)

    assert found.whole.overlap == pytest.approx(np.mean(overlaps))
    assert found.whole.overlap == pytest.approx(found.chance, abs=0.1)
    assert found.whole.cosine_mean == pytest.approx(cosines.mean(), abs=1e-5)
    assert found.whole.cosine_low == pytest.approx(np.percentile(cosines, 5), abs=1e-5)
    assert [b.residues for b in found.buckets] == ["1-99", "100-199", "200-399", "400-799", "800-1599", "1600+"]
    assert [b.proteins for b in found.buckets] == [1, 2, 4, 8, 16, 29]
    long = [n for n in range(N) if LENGTHS[n] >= 1600]
    assert found.buckets[-1].overlap == pytest.approx(np.mean([overlaps[n] for n in long]))
    assert found.buckets[-1].cosine_mean == pytest.approx(cosines[long].mean(), abs=1e-5)
    json.dumps(found.to_json())


def test_every_length_is_in_one_bucket_those_at_the_edges_too(tmp_path: Path) -> None:
    lengths = [1, 99, 100, 199, 200, 399, 400, 799, 800, 1599, 1600, 4000]
    location = build.store(tmp_path / "s", range(12))
    of = space_schema({"mean": WIDTH}, "float32", None, {})
    for name in ("one", "two"):
        ensure_space(location, build.info(name), of)
        rows = space_rows(of, keys=[build.key(n) for n in range(12)], unit="u", spans=[(0, x) for x in lengths],
                          n_residues=lengths, n_residues_seen=lengths, n_windows=[1] * 12, truncated=[False] * 12,
                          vectors={"mean": VECTORS[:12]})  # fmt: skip
        build.writer().append_table(location.table(name), rows)

    assert [bucket.proteins for bucket in drift(location, "one", "two").buckets] == [2] * 6


def test_a_chunked_protein_is_the_mean_of_its_chunks_by_residues(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(12))
    of = space_schema({"mean": WIDTH}, "float32", None, {})
    ensure_space(location, build.info("chunked", config={**build.info().config, "chunk_size": 100}), of)
    parts = [VECTORS[[n, n + 12]] for n in range(12)]
    lengths = [130] * 12
    rows = space_rows(of, keys=[build.key(n) for n in range(12)], unit="u", spans=[[(0, 100), (100, 130)]] * 12,
                      n_residues=lengths, n_residues_seen=lengths, n_windows=[1] * 12, truncated=[False] * 12,
                      vectors={"mean": parts})  # fmt: skip
    build.writer().append_table(location.table("chunked"), rows)
    put(location, "whole", np.stack([(100 * a + 30 * b) / 130 for a, b in parts]), range(12))

    found = drift(location, "whole", "chunked")

    assert found.whole.cosine_low == pytest.approx(1, abs=1e-5)
    assert found.whole.overlap == 1
    assert found.shared == 12
    assert "chunked stores chunks" in found.notes[0]


def test_a_sample_is_the_same_for_a_seed_in_any_order_and_grows(location: Location) -> None:
    keys = key_array([build.key(n) for n in range(N)])
    backwards = keys.take(pa.array(range(N - 1, -1, -1)))
    sample = draw(keys, 20, 7).to_pylist()

    assert draw(backwards, 20, 7).to_pylist() == sample
    assert draw(keys, 30, 7).to_pylist()[:20] == sample
    assert draw(keys, 20, 8).to_pylist() != sample
    assert drift(location, "old", "other", sample=20).whole == drift(location, "old", "other", sample=20).whole
    assert drift(location, "old", "other", sample=20).whole.proteins == 20


def test_what_cannot_be_compared_is_said(location: Location) -> None:
    with pytest.raises(ConfigError, match="old has mean; peaks has max"):
        drift(location, "old", "peaks")
    with pytest.raises(ConfigError, match="do not share std"):
        drift(location, "old", "other", pooling="std")
    with pytest.raises(StoreError, match="share 2 protein"):
        drift(location, "old", "few")
    with pytest.raises(UnknownSpaceError):
        drift(location, "old", "nowhere")
