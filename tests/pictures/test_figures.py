"""What is drawn are the values that were given, and what there is nothing of is said."""

from __future__ import annotations

import io
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import matplotlib
from matplotlib.colors import LogNorm, to_hex

from protea_ray.errors import ConfigError
from protea_ray.pictures.described_figure import DescribedFigure
from protea_ray.pictures.drift_figure import DriftBin, draw_drift
from protea_ray.pictures.figure_files import FORMATS, write_figure
from protea_ray.pictures.flow_figure import draw_flow
from protea_ray.pictures.lengths_figure import draw_lengths
from protea_ray.pictures.map_data import MapColumn
from protea_ray.pictures.map_figure import draw_map
from protea_ray.pictures.rate_figure import draw_rate
from protea_ray.pictures.rejects_figure import draw_rejects
from protea_ray.pictures.stages_figure import draw_stages
from protea_ray.pictures.store_data import Flow, LengthBin, RejectGroup, StageTime
from tests.pictures import made

SVG = "{http://www.w3.org/2000/svg}"
WHOLE: dict[str, Callable[[], DescribedFigure]] = {
    "map": lambda: draw_map(made.space_map()),
    "map by class": lambda: draw_map(made.space_map(), "kind"),
    "lengths": lambda: draw_lengths(made.facts()),
    "rejects": lambda: draw_rejects(made.facts().rejects),
    "flow": lambda: draw_flow(made.run()),
    "rate": lambda: draw_rate(made.run()),
    "stages": lambda: draw_stages(made.run()),
    "drift": lambda: draw_drift(made.drift()),
}
BLANK: dict[str, tuple[Callable[[], DescribedFigure], str]] = {
    "map": (lambda: draw_map(made.space_map(0)), "No protein has a vector in space space at version 3."),
    "lengths": (lambda: draw_lengths(made.facts(lengths=(), proteins=0)), "The store holds no proteins."),
    "rejects": (lambda: draw_rejects(()), "No record was rejected."),
    "no flow": (lambda: draw_flow(None), "No run has recorded where its records went."),
    "flow": (lambda: draw_flow(made.run(flows=())), "Where the records of run r1 (embed) went was not recorded."),
    "no rate": (lambda: draw_rate(None), "No run has recorded its residues per second."),
    "rate": (lambda: draw_rate(made.run(rate=())), "The residues per second of run r1 (embed) were not recorded."),
    "no stages": (lambda: draw_stages(None), "No run has recorded its stages."),
    "stages": (lambda: draw_stages(made.run(stages=())), "The stages of run r1 (embed) were not recorded."),
    "drift": (lambda: draw_drift(None), "No second space was compared."),
}


def as_bytes(figure: DescribedFigure, kind: str) -> bytes:
    file = io.BytesIO()
    write_figure(figure, file, kind)
    return file.getvalue()


def texts_of(figure: DescribedFigure) -> str:
    return " ".join(element.text or "" for element in ElementTree.fromstring(as_bytes(figure, "svg")).iter())


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", WHOLE)
def test_the_same_values_are_the_same_file(name: str, kind: str) -> None:
    one, other = (as_bytes(WHOLE[name](), kind) for _ in range(2))
    assert one == other
    assert one.startswith({"png": b"\x89PNG\r\n\x1a\n", "svg": b"<?xml", "pdf": b"%PDF"}[kind])


@pytest.mark.parametrize("name", WHOLE)
def test_an_svg_has_its_words_as_words_with_a_title_and_a_description(name: str) -> None:
    figure = WHOLE[name]()
    root = ElementTree.fromstring(as_bytes(figure, "svg"))
    assert root.findtext(f"{SVG}title") == figure.title
    described = next(root.iter("{http://purl.org/dc/elements/1.1/}description"))
    assert described.text == figure.description != ""
    drawn = {element.text for element in root.iter(f"{SVG}text")}
    assert figure.title in drawn


@pytest.mark.parametrize("name", BLANK)
def test_what_there_is_nothing_of_is_said(name: str) -> None:
    figure, sentence = BLANK[name][0](), BLANK[name][1]
    assert figure.description == sentence
    assert sentence in texts_of(figure)
    assert as_bytes(figure, "png")


def test_points_lie_where_the_map_has_them_and_are_coloured_by_their_number() -> None:
    found = made.space_map()
    axes, bar = draw_map(found).axes
    (points,) = axes.collections
    np.testing.assert_array_equal(points.get_offsets(), np.column_stack([found.x, found.y]))
    np.testing.assert_array_equal(points.get_array(), found.columns[0].values)
    assert (axes.get_xlabel(), axes.get_ylabel()) == (
        "principal component 1 (50.0% of the variance)", "principal component 2 (25.0% of the variance)")  # fmt: skip
    assert bar.get_ylabel() == "length, residues"


def test_points_without_a_number_are_grey_and_counted() -> None:
    figure = draw_map(made.space_map(), "score")
    unknown, known = figure.axes[0].collections
    np.testing.assert_array_equal(unknown.get_offsets(), [[1, 2]])
    np.testing.assert_array_equal(known.get_array(), [0, 0.2, 0.3, 0.4, 0.5])
    assert "no value (1)" in texts_of(figure)
    assert "coloured by score: 0 to 0.5, 1 unknown" in figure.description


def test_numbers_of_several_sizes_have_a_logarithmic_scale() -> None:
    wide = made.space_map(columns=(MapColumn("length", np.array([10.0, 20, 30, 40, 50, 5_000])),))
    assert isinstance(draw_map(wide).axes[0].collections[0].norm, LogNorm)
    assert not isinstance(draw_map(made.space_map()).axes[0].collections[0].norm, LogNorm)


def test_every_class_has_its_points_its_colour_and_its_count() -> None:
    found = made.space_map()
    figure = draw_map(found, "kind")
    drawn = {to_hex(one.get_facecolor()[0]): one.get_offsets()[:, 0].tolist() for one in figure.axes[0].collections}
    assert sorted(drawn.values()) == [[0, 4], [1, 3, 5], [2]]
    legend = figure.legends[0]
    assert [text.get_text().strip() for text in legend.get_texts()] == ["b (3)", "a (2)", "no value (1)"]
    colours = [to_hex(handle.get_facecolor()[0]) for handle in legend.legend_handles]
    assert [drawn[colour] for colour in colours] == [[1, 3, 5], [0, 4], [2]]


def test_the_classes_without_a_colour_of_their_own_come_last_in_the_legend() -> None:
    kinds = MapColumn("kind", ["a", "a", "b", "c", "d", "e"])
    figure = draw_map(made.space_map(columns=(kinds,)), "kind", most=1)
    assert [text.get_text().strip() for text in figure.legends[0].get_texts()] == ["a (2)", "other (4 values) (4)"]


def test_a_class_that_begins_with_an_underscore_is_in_the_legend() -> None:
    kinds = MapColumn("kind", ["_a"] * 5 + ["b"])
    figure = draw_map(made.space_map(columns=(kinds,)), "kind")
    assert [text.get_text().strip() for text in figure.legends[0].get_texts()] == ["_a (5)", "b (1)"]


def test_a_sample_and_the_notes_are_said() -> None:
    figure = draw_map(made.space_map(total=1_000_000, notes=("6 of 1,000,000 proteins, drawn with seed 0",)))
    assert figure.axes[0].get_title() == "6 of 1,000,000 proteins, pooling mean"
    assert "6 of 1,000,000 proteins, drawn with seed 0" in texts_of(figure)
    assert "6 of 1,000,000 proteins, drawn with seed 0." in figure.description


def test_more_notes_than_there_is_room_for_are_counted() -> None:
    figure = draw_map(made.space_map(notes=tuple(f"note {n}" for n in range(9))))
    assert "5 more lines of notes" in texts_of(figure)


def test_a_misspelt_column_is_guessed() -> None:
    with pytest.raises(ConfigError, match="colour is 'knd'; did you mean kind\\?; the map has length, score, kind"):
        draw_map(made.space_map(), "knd")


@pytest.mark.parametrize("n", [1, 2])
def test_one_protein_and_equal_places_are_drawn(n: int) -> None:
    same = made.space_map(n, x=np.zeros(n, np.float32), y=np.zeros(n, np.float32), explained=None)
    for colour in ("length", "kind"):
        assert as_bytes(draw_map(same, colour), "png")


def test_a_bin_is_as_wide_as_its_lengths_and_as_high_as_its_proteins() -> None:
    bars = draw_lengths(made.facts()).axes[0].patches
    assert [(bar.get_x(), bar.get_width(), bar.get_height()) for bar in bars] == [
        (100, 100, 5), (200, 100, 3), (300, 21, 1)]  # fmt: skip


def test_lengths_far_apart_have_a_logarithmic_axis() -> None:
    far = made.facts(lengths=(LengthBin(5, 9, 1), LengthBin(10, 99, 2), LengthBin(100, 35_213, 3)), longest=35_213)
    assert draw_lengths(far).axes[0].get_xscale() == "log"
    assert "10,000" in texts_of(draw_lengths(far))
    assert draw_lengths(made.facts()).axes[0].get_xscale() == "linear"


def test_rejects_are_the_most_frequent_first_and_the_rest_in_one_bar() -> None:
    axes = draw_rejects(made.facts().rejects).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [1_200, 3]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["too_long", "bad_letter"]
    many = draw_rejects([RejectGroup("same", "", 100 - n, ()) for n in range(25)]).axes[0]
    assert many.patches[-1].get_width() == sum(100 - n for n in range(20, 25))
    assert many.get_yticklabels()[-1].get_text() == "5 other reasons"
    assert len(many.patches) == 21


def test_places_of_records_follow_each_other_and_end_where_the_records_end() -> None:
    first, second = draw_flow(made.run()).axes
    bars = [(bar.get_x(), bar.get_width()) for bar in first.patches]
    assert bars == [(0, 1_000), (0, 700), (700, 150), (850, 100), (950, 50)]
    assert [bar.get_width() for bar in second.patches] == [1_000, 0, 1_000, 0, 0]
    assert [text.get_text() for text in first.texts] == [
        "1,000", "700 (70.0%)", "150 (15.0%)", "100 (10.0%)", "50 (5.0%)"]  # fmt: skip


def test_spaces_that_are_not_shown_are_counted() -> None:
    figure = draw_flow(made.run(flows=tuple(Flow(f"s{n}", 1, 1, 0, 0, 0) for n in range(11))))
    assert len(figure.axes) == 8
    assert figure.title.endswith("3 more spaces not shown")


def test_a_rate_holds_until_its_moment_and_the_mean_is_by_time() -> None:
    figure = draw_rate(made.run())
    steps, mean = figure.axes[0].lines
    assert steps.get_xydata().tolist() == [[2, 0], [4, 100], [5, 400]]
    assert steps.get_drawstyle() == "steps-pre"
    assert mean.get_ydata()[0] == 200  # (2 s * 100 + 1 s * 400) / 3 s
    assert figure.description == (
        "Run r1: 200 residues/s from second 2.0 to 5.0, between 100 and 400 in 2 intervals.")  # fmt: skip


def test_a_stage_lies_between_its_beginning_and_its_end() -> None:
    bars = draw_stages(made.run()).axes[0].patches
    assert [(bar.get_x(), bar.get_width()) for bar in bars] == [(0.5, 1.5), (1.0, 2.0)]
    assert as_bytes(draw_stages(made.run(stages=(StageTime("ray", 0.0, 0.0),))), "png")


def test_drift_shows_cosines_down_to_the_5th_percentile_and_shared_neighbours() -> None:
    left, right = draw_drift(made.drift()).axes
    assert left.lines[0].get_ydata().tolist() == [0.93, 0.9, 0.95]
    (bars,) = left.collections
    lows = [float(segment[:, 1].min()) for segment in bars.get_segments()]
    np.testing.assert_allclose(lows, [0.8, 0.7, 0.9])
    assert [bar.get_height() for bar in right.patches] == [0.5, 0.4, 0.6]
    assert right.lines[0].get_ydata()[0] == 0.1
    wide = DriftBin("all", 9, None, None, 0.5)
    assert "no cosine: the vectors differ in width" in texts_of(draw_drift(made.drift(whole=wide, bins=())))


def test_texts_of_a_store_are_data_in_every_picture() -> None:
    column = MapColumn(made.HOSTILE, [made.HOSTILE, "$\\frac$", "b" * 1_000_000, "", "_", "a"])
    found = made.space_map(columns=(MapColumn("length", np.arange(6.0)), column), space=made.HOSTILE,
                           model=made.HOSTILE, pooling=made.HOSTILE, notes=(made.HOSTILE, "x" * 1_000_000))  # fmt: skip
    run = made.run(run=made.HOSTILE, kind=made.HOSTILE, flows=(Flow(made.HOSTILE, 1, 1, 0, 0, 0),),
                   stages=(StageTime(made.HOSTILE, 0.0, 1.0),))  # fmt: skip
    figures = [
        draw_map(found), draw_map(found, made.HOSTILE), draw_flow(run), draw_rate(run), draw_stages(run),
        draw_rejects([RejectGroup(made.HOSTILE, "", 1, ()), RejectGroup(made.HOSTILE, "", 1, ())]),
        draw_drift(made.drift(a=made.HOSTILE, b=made.HOSTILE)), draw_map(made.space_map(0, space=made.HOSTILE)),
    ]  # fmt: skip
    for figure in figures:
        svg = as_bytes(figure, "svg").decode()
        assert not list(ElementTree.fromstring(svg).iter(f"{SVG}script"))
        assert "<script>" not in figure._repr_html_()
        assert len(svg) < 200_000
        assert all(as_bytes(figure, kind) for kind in ("png", "pdf"))
    assert "alert('&amp;')&lt;/script" in as_bytes(figures[1], "svg").decode()
    for figure in figures[:7]:
        drawn = ElementTree.fromstring(as_bytes(figure, "svg")).iter(f"{SVG}text")
        assert any("$x_1$" in (text.text or "") for text in drawn), figure.title


def test_a_users_own_style_stays_and_is_not_taken_over() -> None:
    with matplotlib.rc_context({"text.usetex": True, "axes.facecolor": "black", "svg.hashsalt": None}):
        before = dict(matplotlib.rcParams)
        theirs = [as_bytes(draw_map(made.space_map(), "kind"), "svg")]
        assert dict(matplotlib.rcParams) == before
    assert theirs == [as_bytes(draw_map(made.space_map(), "kind"), "svg")]


def test_a_notebook_shows_a_figure_with_its_description() -> None:
    figure = draw_rejects(made.facts().rejects)
    shown = figure._repr_html_()
    assert shown.startswith('<img alt="1,203 records were rejected: too_long 1,200, bad_letter 3."')
    assert 'src="data:image/png;base64,iVBORw0KGgo' in shown
