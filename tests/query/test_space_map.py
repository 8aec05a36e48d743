"""A space as a map: the same proteins as the store has, what colours them, and every mistake in one message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.decomposition import PCA

from protea_ray.errors import ConfigError, InputError, UnknownSpaceError
from protea_ray.mistakes import Mistakes
from protea_ray.pictures.map_data import SpaceMap
from protea_ray.query import space_map as laying_out
from protea_ray.query.drift import draw, drift
from protea_ray.query.map_request import MapOptions, map_request
from protea_ray.query.view import Pin, View
from protea_ray.sequences.records import PROTEINS_SCHEMA
from protea_ray.store.keys import key_array
from protea_ray.store.location import Location, open_location
from protea_ray.store.rows import space_rows, space_schema
from protea_ray.store.spaces import ensure_space
from tests.store import build

N = 40


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> Location:
    return build.store(tmp_path_factory.mktemp("map") / "s", range(N))


def space_map(location: Location, space: str | Pin = "current", *, neighbours: bool = True, **options: Any) -> SpaceMap:
    """The map of a space, checked and laid out."""
    asked = map_request(location, space, MapOptions(**options), Mistakes("map"))
    return laying_out.space_map(asked, neighbours=neighbours)


def described(root: Path, ids: Sequence[str], descriptions: Sequence[str], numbers: Sequence[int] = ()) -> Location:
    """A store whose record i has this id and description, and the sequence of protein numbers[i], or of protein i."""
    location = open_location(root)
    numbers = numbers or range(len(ids))
    table = build.proteins(numbers, ids=ids)
    column = pa.array(descriptions, PROTEINS_SCHEMA.field("description").type)
    at = table.schema.get_field_index("description")
    build.ingest(location, table.set_column(at, PROTEINS_SCHEMA.field("description"), column))
    ensure_space(location, build.info(), build.schema())
    build.fill(location, build.info().name, sorted(set(numbers)), "u", build.schema())
    return location


def values(found: SpaceMap, name: str) -> list:
    (column,) = [column for column in found.columns if column.name == name]
    return list(column.values)


def said(found: SpaceMap, words: str) -> bool:
    return any(words in note for note in found.notes)


def test_every_protein_has_its_place_id_length_and_neighbours(location: Location) -> None:
    found = space_map(location)

    view = View.open(location, "current")
    assert (found.space, found.version, found.model) == (build.info().name, view.pin.version, "m")
    assert (found.pooling, found.method, found.total, found.sampled) == ("mean", "pca", N, False)
    assert sorted(found.ids) == [f"P{n:05d}" for n in range(N)]
    numbers = [int(id[1:]) for id in found.ids]
    assert list(found.descriptions) == [f"protein {n}" for n in numbers]
    assert values(found, "length") == [len(build.sequence(n)) for n in numbers]
    vectors = np.stack([build.vector(n) for n in numbers]).astype(np.float64)
    np.testing.assert_allclose(np.stack([found.x, found.y], 1), PCA(2).fit_transform(vectors), atol=1e-5)
    assert found.neighbours is not None
    similar = vectors @ vectors.T
    np.fill_diagonal(similar, -2)
    assert (found.neighbours.points == np.argsort(-similar, axis=1)[:, :10]).all()
    assert found.notes == ()
    assert space_map(location, neighbours=False).neighbours is None


def test_a_pin_reads_what_was_there(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(10))
    pin = View.open(location, "current").pin
    build.fill(location, build.info().name, range(10, 20), "later", build.schema())

    assert len(space_map(location, pin).ids) == 10
    assert len(space_map(location).ids) == 20
    assert said(space_map(location), "10 vectors belong to no record")
    assert f"key {build.key(15).hex()}" in space_map(location).ids


def test_a_sample_is_that_of_the_seed_and_says_so(location: Location) -> None:
    one, again, other = (space_map(location, limit=15, seed=seed) for seed in (1, 1, 2))

    assert (one.total, len(one.ids), one.sampled, one.seed) == (N, 15, True, 1)
    assert one.ids == again.ids
    assert (one.x == again.x).all()
    assert set(one.ids) != set(other.ids)
    expected = draw(key_array([build.key(n) for n in range(N)]), 15, 1).to_pylist()
    assert {build.key(int(id[1:])) for id in one.ids} == set(expected)
    assert said(one, "15 of 40 proteins, drawn with seed 1")
    assert not space_map(location, limit=N).sampled


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_hardly_any_protein(tmp_path: Path, n: int) -> None:
    location = build.store(tmp_path / "s", range(n))

    found = space_map(location)

    assert len(found.ids) == found.total == len(found.x) == len(values(found, "length")) == n
    assert found.neighbours is not None
    assert found.neighbours.points.shape == (n, max(0, n - 1))
    assert (found.explained is None) == (n < 2)


def put(
    location: Location, name: str, vectors: Sequence[np.ndarray], spans: Sequence, chunk: int | None = None
) -> None:
    """A space of proteins 0, 1, ... whose vectors, or chunks, are given."""
    of = space_schema({"mean": np.atleast_2d(vectors[0]).shape[1]}, "float32", None, {})
    ensure_space(location, build.info(name, config={**build.info().config, "chunk_size": chunk}), of)
    lengths = [int(np.reshape(span, (-1, 2))[-1, 1]) for span in spans]
    rows = space_rows(of, keys=[build.key(n) for n in range(len(spans))], unit=f"{name}.0", spans=spans,
                      n_residues=lengths, n_residues_seen=lengths, n_windows=[1] * len(spans),
                      truncated=[False] * len(spans), vectors={"mean": vectors})  # fmt: skip
    build.writer().append_table(location.table(name), rows)


def test_equal_vectors_lie_at_zero_and_it_is_said(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(2))
    put(location, "equal", np.full((2, 5), 0.3, np.float32), [(0, 9), (0, 9)])

    found = space_map(location, "equal")

    assert (found.x.tolist(), found.y.tolist(), found.explained) == ([0, 0], [0, 0], None)
    assert said(found, "all 2 vectors are equal")
    assert found.neighbours is not None
    assert found.neighbours.points.tolist() == [[1], [0]]


def test_a_chunked_protein_is_one_point_the_mean_of_its_chunks_by_residues(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(12))
    vectors = np.random.default_rng(0).normal(size=(24, 6)).astype(np.float32)
    parts = [vectors[[n, n + 12]] for n in range(12)]
    put(location, "chunked", [a for a, _ in parts], [(0, 100)] * 12, chunk=100)  # in two reads
    put(location, "chunked", [b for _, b in parts], [(100, 130)] * 12, chunk=100)
    put(location, "whole", np.stack([(100 * a + 30 * b) / 130 for a, b in parts]), [(0, 130)] * 12)

    chunked, whole = (space_map(location, name) for name in ("chunked", "whole"))

    assert chunked.total == 12
    assert chunked.ids == whole.ids
    np.testing.assert_allclose(chunked.x, whole.x, atol=1e-5)
    assert values(whole, "length") == [130] * 12
    assert said(chunked, "a protein stands for their mean")
    assert drift(location, "chunked", "whole").whole.cosine_low == pytest.approx(1, abs=1e-5)


def test_vectors_keep_their_lengths(tmp_path: Path) -> None:
    """Places are those of the stored vectors, and not of vectors of length 1."""
    location = build.store(tmp_path / "s", range(3))
    put(location, "line", np.float32([[1, 0], [2, 0], [6, 0]]), [(0, 500), (0, 9), (0, 40)])

    assert np.sort(space_map(location, "line").x).tolist() == [-2, -1, 3]


def test_fields_of_descriptions_are_columns_where_half_have_them(tmp_path: Path) -> None:
    texts = ["family=F1", "x family=F2 y", "no", "P53 OS=Bos taurus OX=9 GN=x"]
    location = described(tmp_path / "s", list("abcd"), texts)

    found = space_map(location)

    by_id = dict(zip(found.ids, values(found, "family"), strict=True))
    assert by_id == {"a": "F1", "b": "F2", "c": "", "d": ""}
    assert [column.name for column in found.columns] == ["length", "family"]
    assert said(found, "column family: 2 of 4 descriptions have 'family='")
    assert said(found, "no column organism: only 1 of 4 descriptions have 'OS='")


def test_a_protein_of_several_ids_shows_the_first(tmp_path: Path) -> None:
    location = described(tmp_path / "s", ["a", "b", "c", "a"], ["one", "two", "three", "one"], [0, 1, 0, 0])

    found = space_map(location)

    assert sorted(zip(found.ids, found.descriptions, strict=True)) == [("a", "one"), ("b", "two")]
    assert said(found, "1 proteins have several ids, of which the first is shown")


HOSTILE = [
    "</script><script>alert(1)</script>",
    "a|b'\"c",
    "tab\there",
    "new\nline",
    "<b>" * 300,
    "ünï\u2028code",
    "-1",
]


def test_ids_and_descriptions_are_data(tmp_path: Path) -> None:
    long = "é<" * 500_000
    location = described(tmp_path / "s", HOSTILE, [f"<i>{id}" for id in HOSTILE[:-1]] + [long])
    labels = pa.table({"id": HOSTILE, "kind": [f"<u>{n}" for n in range(len(HOSTILE))]})

    found = space_map(location, labels=labels)

    assert sorted(found.ids) == sorted(HOSTILE)
    by_id = dict(zip(found.ids, found.descriptions, strict=True))
    assert by_id["new\nline"] == "<i>new\nline"
    assert by_id["-1"] == long[:500] + "..."
    assert said(found, "2 descriptions are cut after 500 characters")
    assert dict(zip(found.ids, values(found, "kind"), strict=True)) == dict(
        zip(HOSTILE, labels["kind"].to_pylist(), strict=True)
    )


def test_labels_join_by_id_and_say_what_they_are(location: Location, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(
        "id,place,score,group,half,length,empty\n"
        "P00001,nucleus,0.5,1,2.5,7,\nP00002,,,2,,8,\nP00003,nucleus,1e3,,0.5,9,\nabsent,golgi,7,1,1,1,\n"
    )

    found = space_map(location, labels=path)

    at = {id: place for place, id in enumerate(found.ids)}
    rows = [at[id] for id in ("P00001", "P00002", "P00003", "P00004")]
    of = {column.name: [column.values[row] for row in rows] for column in found.columns}
    assert of["place"] == ["nucleus", "", "nucleus", ""]
    np.testing.assert_array_equal(of["score"], [0.5, np.nan, 1000, np.nan])
    assert of["group"] == ["1", "2", "", ""]
    np.testing.assert_array_equal(of["half"], [2.5, np.nan, 0.5, np.nan])
    assert of["length (labels)"] == ["7", "8", "9", ""]
    assert of["length"] == [len(build.sequence(n)) for n in (1, 2, 3, 4)]
    assert {column.name for column in found.columns if column.numeric} == {"length", "score", "half"}
    assert said(found, f"column place of {path}: 2 of 40 points have a value; classes")
    assert said(found, "column group of") and said(found, "classes, as it has 2 different whole numbers")
    assert said(found, "column score of") and said(found, "2 of 40 points have a value; numbers")


def test_chosen_label_columns_alone_are_read(location: Location) -> None:
    labels = pa.table({"id": ["P00001"], "a": ["x"], "b": [[1]], "c": ["s" * 300]})

    every, one = space_map(location, labels=labels), space_map(location, labels=labels, label_columns=["a"])

    assert [column.name for column in every.columns] == ["length", "a"] == [column.name for column in one.columns]
    assert said(every, "column b holds list<") and said(every, "column c holds texts of up to 300 characters")
    assert not said(one, "column b")
    single = space_map(location, labels=labels, label_columns="a")
    assert [column.name for column in single.columns] == ["length", "a"]
    with pytest.raises(ConfigError, match="column b holds list") as raised:
        space_map(location, labels=labels, label_columns=["b", "c"])
    assert len(raised.value.problems) == 2
    with pytest.raises(ConfigError, match="has no column d"):
        space_map(location, labels=labels, label_columns=["d"])
    with pytest.raises(ConfigError, match="no column holds numbers or names"):
        space_map(location, labels=labels.select(["id", "b"]))


def drawn_first(number: int, of: int) -> int:
    """A seed that draws protein `number` first of proteins 0 to `of` - 1."""
    keys = key_array([build.key(n) for n in range(of)])
    return next(seed for seed in range(999) if draw(keys, 1, seed)[0].as_py() == build.key(number))


def test_labels_of_several_ids_and_of_accessions(tmp_path: Path) -> None:
    ids = ["sp|P12345|A_B", "tr|Q12345|C_D", "other", "sp|Q12345|C_E", "plain"]
    location = described(tmp_path / "s", ids, [""] * 5, [0, 1, 0, 2, 3])
    labels = {"P12345": "first", "other": "second", "Q12345": "ambiguous", "plain": "third"}

    found = space_map(location, labels=labels)

    assert dict(zip(found.ids, values(found, "label"), strict=True)) == {
        ids[0]: "first", ids[1]: "", ids[3]: "", ids[4]: "third",
    }  # fmt: skip
    assert said(found, "1 proteins have ids with several labels; the first is taken")
    assert said(found, "ids are the accession of several stored ids and are left out")
    sampled = space_map(location, labels=labels, limit=1, seed=drawn_first(1, of=4))
    assert list(sampled.ids) == [ids[1]]
    assert values(sampled, "label") == [""]  # ambiguous in the store, though one alone of the two is on the map


def test_thousands_of_numbers_and_dates_and_booleans(location: Location) -> None:
    ids = [f"P{n:05d}" for n in range(N)]
    labels = pa.table({
        "id": ids, "number": pa.array(range(N), pa.int8()), "yes": [n % 2 == 0 for n in range(N)],
        "name": pa.array([f"c{n}" for n in range(N)]).dictionary_encode(), "infinite": [np.inf, *([0.5] * (N - 1))],
        "day": pa.array([date(2026, 1, 2)] * N), "code": pa.array([7] * N).dictionary_encode(),
        "none": pa.nulls(N), "span": pa.array([timedelta(1)] * N),
    })  # fmt: skip

    found = space_map(location, labels=labels)

    at = [int(id[1:]) for id in found.ids]
    assert values(found, "number") == at
    assert values(found, "yes") == ["true" if n % 2 == 0 else "false" for n in at]
    assert values(found, "name") == [f"c{n}" for n in at]
    assert np.isnan(values(found, "infinite")[at.index(0)])
    assert {*values(found, "day")} == {"2026-01-02"}
    assert {*values(found, "code")} == {"7"}
    assert said(found, "column none of the table of labels: 0 of 40 points have a value")
    assert said(found, "column span holds duration[us], and neither numbers nor names, and is left out")


def test_an_untrained_space_and_too_few_proteins_for_umap_say_so(tmp_path: Path) -> None:
    pytest.importorskip("umap", reason="umap-learn is not installed")
    location = build.store(tmp_path / "s", range(8))
    ensure_space(location, build.info("random", trained=False), build.schema())
    build.fill(location, "random", range(8), "u", build.schema())

    with pytest.warns(UserWarning, match="never trained"):
        found = space_map(location, "random", method="umap")

    assert found.method == "pca"
    assert said(found, "UMAP needs at least 16 proteins and here are 8: drawn by PCA")
    assert said(found, "m was never trained")


def test_umap_of_a_space(location: Location) -> None:
    pytest.importorskip("umap", reason="umap-learn is not installed")

    found = space_map(location, method="umap", seed=3)

    assert (found.method, found.explained, len(found.x)) == ("umap", None, N)
    assert said(found, "seed 3")


def test_approximate_neighbours_say_how_many_are_true(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    near = space_map(location).neighbours
    assert near is not None
    monkeypatch.setattr("protea_ray.query.space_map.EXACT_UP_TO", N - 1)
    monkeypatch.setattr(
        "protea_ray.query.space_map.nearest_points", lambda vectors, seed: replace(near, recall=0.875)
    )  # fmt: skip

    assert said(space_map(location), "neighbours are approximate: 87.5% of the true ones are found, measured on 200")


def test_all_mistakes_are_in_one_message(location: Location, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        space_map(location, "nowhere", method="pac", limit=0, seed=-1, labels=tmp_path / "none.csv")
    assert len(raised.value.problems) == 5
    for words in ("did you mean pca", "limit is 0", "seed is -1", "no space or alias 'nowhere'", "none.csv"):
        assert words in str(raised.value)
    with pytest.raises(ConfigError, match="2 problem") as raised:
        space_map(location, pooling="max", labels=pa.table({"id": ["a"], "x": ["b"]}), label_columns=["y"])
    assert "no pooling 'max'" in str(raised.value) and "no column y" in str(raised.value)


def test_a_colour_that_is_no_column_is_refused_before_a_vector_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = described(tmp_path / "s", list("abc"), ["family=F1", "family=F2", "OS=Bos taurus OX=9"])
    labels = pa.table({"id": ["a", "b"], "place": ["x", "y"], "family": ["u", "v"]})
    names = "the map has length, family, place, family (labels)"
    monkeypatch.setattr(laying_out, "mean_vectors", too_early)

    with pytest.raises(ConfigError, match=r"colour is 'plaec'; did you mean place") as raised:
        space_map(location, labels=labels, colour="plaec")
    assert names in str(raised.value)
    with pytest.raises(ConfigError, match="colour is 'organism'"):  # which fewer than half have
        space_map(location, labels=labels, colour="organism")
    with pytest.raises(ConfigError, match="2 problem") as raised:
        space_map(location, labels=labels, colour="plaec", method="pac")
    assert names in str(raised.value) and "did you mean pca" in str(raised.value)
    for colour in ("length", "family", "place", "family (labels)"):
        with pytest.raises(VectorsReadError):
            space_map(location, labels=labels, colour=colour)


class VectorsReadError(Exception):
    """Vectors were read."""


def too_early(*_: object) -> None:
    raise VectorsReadError


def test_no_columns_are_guessed_where_labels_or_the_sample_cannot_be_read(location: Location, tmp_path: Path) -> None:
    for wrong in ({"labels": tmp_path / "none.csv"}, {"limit": 0}):
        with pytest.raises((ConfigError, InputError)) as raised:
            space_map(location, colour="place", **wrong)
        assert "colour" not in str(raised.value)


def test_one_mistake_is_what_it_is(location: Location, tmp_path: Path) -> None:
    with pytest.raises(UnknownSpaceError):
        space_map(location, "nowhere")
    with pytest.raises(InputError, match=r"none\.csv"):
        space_map(location, labels=tmp_path / "none.csv")
    with pytest.raises(ConfigError, match="label_columns need labels"):
        space_map(location, label_columns=["a"])
    with pytest.raises(InputError, match="more than one label"):
        space_map(location, labels=pa.table({"id": ["P00001", "P00001"], "x": ["a", "b"]}))


def test_umap_asked_for_where_it_is_not_installed(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protea_ray.pictures.projection.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'pip install "protea-ray\[umap\]"'):
        space_map(location, method="umap")
    assert space_map(location).method == "pca"
