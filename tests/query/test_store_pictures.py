"""store.plot_...: figures of a real store, files by their ending, and stores that have nothing to show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from protea_ray.errors import ConfigError, UnknownSpaceError
from protea_ray.mistakes import Mistakes
from protea_ray.pictures.described_figure import DescribedFigure
from protea_ray.query import store_pictures
from protea_ray.query.drift import drift
from protea_ray.query.map_request import MapOptions, map_request
from protea_ray.query.reader import Store, open_store
from protea_ray.query.space_map import space_map
from protea_ray.query.store_pictures import chosen_run, drift_bins
from protea_ray.store.location import open_location
from protea_ray.store.spaces import ensure_space
from tests.pictures import made
from tests.store import build

SPACE, OTHER = "esm2-00000001", "esm2-00000002"
EMPTY: dict[str, tuple[Callable[[Store], DescribedFigure], str]] = {
    "map": (lambda store: store.plot_map(), "The store has no space yet"),
    "rejects": (lambda store: store.plot_rejects(), "No record was rejected"),
    "flow": (lambda store: store.plot_flow(), "No run has recorded"),
    "rate": (lambda store: store.plot_rate(), "No run has recorded"),
    "stages": (lambda store: store.plot_stages(), "No run has recorded"),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Thirty proteins in two spaces."""
    location = build.store(tmp_path_factory.mktemp("pictures") / "s", range(30))
    ensure_space(location, build.info(OTHER), build.schema())
    build.fill(location, OTHER, range(20), "u", build.schema())
    return open_store(location.uri)


def test_a_map_has_the_places_of_the_space(store: Store) -> None:
    found = space_map(map_request(store.location, SPACE, MapOptions(), Mistakes("map")))
    (points,) = store.plot_map(SPACE).axes[0].collections
    np.testing.assert_array_equal(points.get_offsets(), np.column_stack([found.x, found.y]))


def test_a_map_is_coloured_by_a_label_and_sampled_as_asked(store: Store) -> None:
    labels = {f"P{n:05d}": "ab"[n % 2] for n in range(30)}
    figure = store.plot_map(SPACE, labels=labels, colour="label", limit=10, seed=3)
    counts = [text.get_text().strip() for text in figure.legends[0].get_texts()]
    assert sum(int(text.split("(")[1].rstrip(")")) for text in counts) == 10
    assert figure.axes[0].get_title().startswith("10 of 30 proteins")


def test_drift_has_the_values_of_the_comparison(store: Store) -> None:
    found = drift(store.location, SPACE, OTHER)
    left, right = store.plot_drift(SPACE, OTHER).axes
    rows = (found.whole, *found.buckets)
    assert left.lines[0].get_ydata().tolist() == [row.cosine_mean for row in rows]
    assert [bar.get_height() for bar in right.patches] == [row.overlap for row in rows]
    assert drift_bins(found).chance == found.chance


def test_lengths_are_those_of_the_store(store: Store) -> None:
    assert sum(bar.get_height() for bar in store.plot_lengths().axes[0].patches) == 30


@pytest.mark.parametrize(("name", "first"), [("a.png", b"\x89PNG"), ("a.SVG", b"<?xml"), ("a.pdf", b"%PDF")])
def test_a_file_is_written_by_its_ending(store: Store, tmp_path: Path, name: str, first: bytes) -> None:
    store.plot_lengths(out=tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(first)


def test_mistakes_are_named_before_anything_is_read(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_pictures, "drawable", lambda: False)
    with pytest.raises(ConfigError) as raised:
        store.plot_map("nothing", limit=0, out=tmp_path / "none" / "map.jpg")
    assert len(raised.value.problems) == 5
    for said in (
        "no space or alias 'nothing'",
        "limit is 0",
        'pip install "protea-ray[report]"',
        "one of .png, .svg, .pdf",
        "there is no folder",
    ):
        assert said in str(raised.value)


def test_typing_errors_are_guessed(store: Store) -> None:
    with pytest.raises(ConfigError, match="did you mean length"):
        store.plot_map(SPACE, colour="lenght")
    with pytest.raises(UnknownSpaceError, match="did you mean"):
        store.plot_map("esm2-0000001")
    with pytest.raises(ConfigError, match="there is no run 'r'; the last are none"):
        store.plot_rate("r")


def test_the_columns_of_a_map_are_named_before_its_vectors_are_read(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("protea_ray.query.space_map.mean_vectors", lambda *_: pytest.fail("vectors were read"))
    with pytest.raises(ConfigError, match="2 problem") as raised:
        store.plot_map(SPACE, colour="labl", labels={"P00001": "a"}, out=tmp_path / "map.jpg")
    assert "did you mean label?; the map has length, label" in str(raised.value)
    assert "one of .png, .svg, .pdf" in str(raised.value)


def test_the_last_run_that_recorded_it_is_drawn() -> None:
    runs = (made.run(run="a1"), made.run(run="b1"), made.run(run="c1", flows=()))
    last = chosen_run(runs, None, lambda run: bool(run.flows))
    assert last is not None and last.run == "b1"
    named = chosen_run(runs, "c1", lambda run: bool(run.flows))
    assert named is not None and named.run == "c1"
    with pytest.raises(ConfigError, match="the last are a1, b1, c1"):
        chosen_run(runs, "zzz", lambda run: True)


@pytest.mark.parametrize("name", EMPTY)
def test_a_store_that_holds_records_alone_says_what_it_lacks(tmp_path: Path, name: str) -> None:
    location = open_location(tmp_path / "s")
    build.ingest(location, build.proteins(range(2)))
    draw, sentence = EMPTY[name]
    figure = draw(open_store(location.uri))
    assert sentence in figure.description
    assert "<img" in figure._repr_html_()


def test_one_protein_and_a_space_without_vectors_are_drawn(tmp_path: Path) -> None:
    one = open_store(build.store(tmp_path / "one", range(1)).uri)
    assert one.plot_map().axes[0].get_title() == "1 protein, pooling mean"
    location = open_location(tmp_path / "bare")
    build.ingest(location, build.proteins(range(2)))
    ensure_space(location, build.info(), build.schema())
    assert "No protein has a vector" in open_store(location.uri).plot_map().description
