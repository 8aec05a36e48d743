"""The bar of a notebook: parts as long as their counts, names as text."""

from __future__ import annotations

from html.parser import HTMLParser
from xml.etree import ElementTree

from protea_ray.pictures.flow_bar import flow_bar
from protea_ray.pictures.store_data import Flow
from tests.pictures import made


class Tags(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.said = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.said += data


def test_parts_are_as_long_as_their_counts_and_fill_the_bar() -> None:
    page = flow_bar(Flow("space", 1_000, 700, 100, 50, 150))
    svg = ElementTree.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])
    parts = [(float(part.get("x", "")), float(part.get("width", ""))) for part in svg.iter("rect")]
    assert parts == [(0, 420), (420, 90), (510, 60), (570, 30)]
    assert [part.findtext("title") for part in svg.iter("rect")] == [
        "stored: 700", "already present: 150", "duplicate: 100", "rejected: 50"]  # fmt: skip
    assert svg.get("aria-label") == (
        "space: of 1,000 records 700 stored, 150 already present, 100 duplicate, 50 rejected.")  # fmt: skip
    for said in ("stored 700", "already present 150", "duplicate 100", "rejected 50"):
        assert said in Tags(page).said


def test_a_name_is_text() -> None:
    found = Tags(flow_bar(Flow(made.HOSTILE + '" onload="x', 1, 1, 0, 0, 0)))
    assert found.tags == {"div", "br", "svg", "rect", "title", "span"}
    assert "<script>alert" in found.said


def test_no_records_are_no_bar() -> None:
    assert flow_bar(Flow("space", 0, 0, 0, 0, 0)) == ""
