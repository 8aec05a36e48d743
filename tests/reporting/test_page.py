"""The report without a browser: what is data stays data, and every number is that of the store."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import protea_ray
from protea_ray.errors import ConfigError
from protea_ray.pictures.map_data import MapColumn
from protea_ray.reporting.map_payload import COSINE_STEPS, map_payload
from protea_ray.reporting.page import page
from protea_ray.reporting.sections import link
from tests.reporting.made import HOSTILE, report_data, run_facts, space_map, store_facts


class Elements(HTMLParser):
    """Text and elements of a page, read by the standard library's parser."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.packed: dict[str, tuple[str, bytes]] = {}
        self._inside: dict[str, str | None] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = dict(attrs) if tag == "script" else None

    def handle_data(self, data: str) -> None:
        if self._inside and "data-name" in self._inside:
            content = gzip.decompress(base64.b64decode(data))
            self.packed[str(self._inside["data-name"])] = str(self._inside["data-kind"]), content
            self._inside = None
        else:
            self.texts.append(data)

    def count(self, tag: str) -> int:
        return sum(found == tag for found, _ in self.tags)


@pytest.fixture(scope="module")
def plain() -> Elements:
    return Elements(page(report_data(space_map([f"p{n}" for n in range(12)]))))


def test_nothing_of_the_page_is_elsewhere(plain: Elements) -> None:
    asking = [(tag, a) for tag, a in plain.tags if tag in ("link", "img", "iframe") or (tag == "script" and "src" in a)]
    assert asking == []
    policy = [
        a["content"] for tag, a in plain.tags if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert len(policy) == 1 and str(policy[0]).startswith("default-src 'none'")


def test_hostile_ids_and_descriptions_add_no_element(plain: Elements) -> None:
    ids = [*HOSTILE, *(f"p{n}" for n in range(4))]
    hostile = Elements(page(report_data(space_map(ids, [text * 3 for text in ids]))))
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in plain.tags]
    stored = json.loads(hostile.packed["map-ids"][1])
    assert stored[:7] == list(HOSTILE[:7])
    assert "half" in stored[7]


def test_a_rejected_record_is_text_with_its_file_and_line(plain: Elements) -> None:
    said = "\n".join(plain.texts)
    assert HOSTILE[0] in said and HOSTILE[1] in said
    assert "https://example.org/a.fasta:7" in said
    assert ("a", {"href": "https://example.org/a.fasta", "rel": "noreferrer"}) in plain.tags


@pytest.mark.parametrize("file", ["javascript:alert(1)", "data:text/html,x", "//example.org/x", "no such file", "\0"])
def test_only_files_that_are_there_and_web_addresses_are_links(file: str) -> None:
    (group,) = store_facts().rejects
    example = group.examples[0]
    assert link(type(example)("id", file, 1, "")) is None


def test_a_long_description_is_cut_and_the_page_stays_small() -> None:
    ids = [f"p{n}" for n in range(5)]
    short = len(page(report_data(space_map(ids))))
    long = len(page(report_data(space_map(ids, ["x" * 1_000_000] * 5))))
    assert long - short < 5_000


def test_the_numbers_of_the_map_arrive(plain: Elements) -> None:
    shown = space_map([f"p{n}" for n in range(12)])
    kind, content = plain.packed["map-x"]
    assert kind == "float32" and np.array_equal(np.frombuffer(content, "<f4"), shown.x)
    assert shown.neighbours is not None
    assert np.array_equal(np.frombuffer(plain.packed["map-neighbours"][1], "<i4"), shown.neighbours.points.ravel())
    cosines = np.frombuffer(plain.packed["map-cosines"][1], "<u2") / COSINE_STEPS * 2 - 1
    assert np.abs(cosines - shown.neighbours.cosines.ravel()).max() < 1 / COSINE_STEPS + 1e-6
    about = json.loads(plain.packed["map"][1])
    assert about["first"] == 1  # a column of names colours before length does
    assert about["columns"][1]["counts"] == [6, 6]


def test_a_number_that_is_unknown_is_counted_and_no_zero() -> None:
    column = MapColumn("score", np.array([1.0, np.nan, 30.0, np.inf]))
    shown = space_map(["a", "b", "c", "d"], columns=(MapColumn("length", np.arange(4.0)), column))
    about = map_payload(shown, "score")["map"]
    assert isinstance(about, dict)
    assert about["first"] == 1
    assert about["columns"][1] == {"name": "score", "low": 1.0, "high": 30.0, "whole": True, "log": True, "unknown": 2}


def test_what_was_not_recorded_is_said() -> None:
    nothing = {"seconds": None, "residues": None, "rate": (), "stages": (), "packing": None, "actors": None}
    old = run_facts(**nothing, peak_memory={}, config={}, digests={}, versions={})
    said = "\n".join(Elements(page(report_data(facts=store_facts(runs=(old,))))).texts)
    assert said.count("not recorded") >= 5
    assert "There is no map." in said


def test_a_store_of_nothing_opens() -> None:
    facts = store_facts(proteins=0, residues=0, lengths=(), longest=0, rejects=(), runs=())
    said = "\n".join(Elements(page(report_data(facts=facts))).texts)
    assert "This store records no run." in said and "This store holds no proteins." in said
    assert "No record was rejected." in said


def test_headings_go_down_one_step_at_a_time(plain: Elements) -> None:
    levels = [int(tag[1]) for tag, _ in plain.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_every_picture_has_words_and_a_name(plain: Elements) -> None:
    pictures = [a for tag, a in plain.tags if a.get("role") == "img"]
    assert len(pictures) == 6
    assert all(len(str(a.get("aria-label"))) >= 20 for a in pictures)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"out": "there"}, ["is a directory"]),
        ({"out": "missing/report.html"}, ["no directory"]),
        ({"out": "notes.txt"}, ["no report"]),
        ({"out": "notes.txt", "figures": "notes.txt"}, ["no report", "is a file"]),
    ],
)
def test_places_that_cannot_be_written_are_told_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], said: list[str]
) -> None:
    from protea_ray.reporting.write import require_writable

    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    figures = Path(given["figures"]) if "figures" in given else None
    with pytest.raises(ConfigError) as caught:
        require_writable(Path(given["out"]), figures)
    assert all(words in str(caught.value) for words in said)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_the_name_is_public() -> None:
    assert protea_ray.write_report.__name__ == "write_report"
