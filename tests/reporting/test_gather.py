"""What a report reads of a store: a map where there can be one, else the sentence that says why there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from protea_ray.errors import ConfigError, InputError, UnknownSpaceError
from protea_ray.mistakes import Mistakes
from protea_ray.reporting.gather import ReportData, ReportOptions, gather, report_request
from protea_ray.reporting.write import write_report
from protea_ray.store.location import Location, open_location
from protea_ray.store.rows import space_schema
from protea_ray.store.spaces import ensure_space
from tests.store import build

SPACE = "esm2-00000001"


def gathered(location: Location, options: ReportOptions) -> ReportData:
    """What a report of the store shows, told to nobody."""
    return gather(report_request(location, options, Mistakes("report")), lambda _: None)


def test_a_space_of_residues_alone_has_a_reason_and_no_map(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(3))
    ensure_space(location, build.info("residues-1"), space_schema({}, "float32", 4, {}))
    found = gathered(location, ReportOptions(space="residues-1"))
    assert found.space_map is None
    assert found.without_map == "Space residues-1 keeps no vectors of whole proteins, which a map needs."


def test_several_spaces_and_no_choice_are_said(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(3))
    ensure_space(location, build.info("other"), build.schema())
    found = gathered(location, ReportOptions())
    assert found.space_map is None and found.without_map.startswith("No space was chosen")
    chosen = gathered(location, ReportOptions(space=SPACE, against="other"))
    assert chosen.space_map is not None and list(chosen.space_map.ids) == ["P00000", "P00001", "P00002"]
    assert chosen.drift is None and chosen.without_drift  # the other one holds nothing


@pytest.fixture
def location(tmp_path: Path) -> Location:
    """Three proteins in one space."""
    return build.store(tmp_path / "s", range(3))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"against": SPACE}, ["nothing to compare"]),
        ({"against": "residues-1"}, ["do not share a pooling"]),
        ({"colour": "lenght"}, ["colour is 'lenght'; did you mean length?; the map has length"]),
        (
            {"against": "esm2-0000000", "pooling": "maen", "colour": "lenght", "seed": 2**32},
            ["no space or alias 'esm2-0000000'", "no pooling 'maen'", "seed is 4294967296"],
        ),
        (
            {"against": SPACE, "method": "pac", "colour": "lenght"},
            ["nothing to compare", "did you mean pca", "did you mean length"],
        ),
        ({"space": "nowhere", "against": "nowhere", "limit": 0}, ["no space or alias 'nowhere'", "limit is 0"]),
    ],
)
def test_every_mistake_is_told_at_once_and_before_a_vector_is_read(
    location: Location, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], said: list[str]
) -> None:
    ensure_space(location, build.info("residues-1"), space_schema({}, "float32", 4, {}))
    monkeypatch.setattr("protea_ray.query.space_map.mean_vectors", lambda *_: pytest.fail("vectors were read"))
    with pytest.raises(ConfigError) as raised:
        gathered(location, ReportOptions(**{"space": SPACE, **options}))
    assert len(raised.value.problems) == len(said)
    assert [words in str(raised.value) for words in said] == [True] * len(said)


def test_one_mistake_is_what_it_is(location: Location, tmp_path: Path) -> None:
    with pytest.raises(UnknownSpaceError):
        gathered(location, ReportOptions(space=SPACE, against="nowhere"))
    with pytest.raises(UnknownSpaceError):
        gathered(location, ReportOptions(space="nowhere", against="nowhere"))
    with pytest.raises(InputError, match=r"none\.csv"):
        gathered(location, ReportOptions(labels=tmp_path / "none.csv"))


def test_a_store_without_vectors_has_nothing_to_colour(tmp_path: Path) -> None:
    location = open_location(tmp_path / "s")
    build.ingest(location, build.proteins(range(2)))
    assert gathered(location, ReportOptions()).without_map.startswith("The store has no space yet")
    with pytest.raises(ConfigError, match="2 problem") as raised:
        gathered(location, ReportOptions(colour="length", against="nowhere"))
    assert "nothing to colour" in str(raised.value) and "'nowhere'" in str(raised.value)


def test_where_the_page_goes_is_told_with_the_rest(location: Location, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="report: 3 problem") as raised:
        write_report(location, tmp_path, ReportOptions(space=SPACE, against=SPACE, colour="lenght"))
    for words in ("is a directory", "nothing to compare", "the map has length"):
        assert words in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
