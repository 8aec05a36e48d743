"""The dashboard: its queries name what is recorded, each metric is on it, and Grafana can lay it out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from protea_ray.cluster.ray_metrics import GROUPS, METRICS
from tools import metrics_page

FILE = Path(__file__).parents[2] / "docs" / "grafana" / "protea_ray.json"
BOARD: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = BOARD["panels"]
QUERIES = [(panel["title"], target["expr"]) for panel in PANELS for target in panel.get("targets", ())]
OF_RAY = {"NodeAddress", "WorkerId", "SessionName", "le"}  # labels that Ray or Prometheus adds
COLUMNS = 24
NAME = re.compile(r"\bray_\w+")


def series() -> dict[str, set[str]]:
    """Every name that Prometheus gets, with its labels."""
    found: dict[str, set[str]] = {}
    for metric in METRICS:
        endings = ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",)
        found.update((metric.exported + ending, {*metric.tags} | OF_RAY) for ending in endings)
    return found


def labels(query: str) -> Iterator[str]:
    """The labels that a query selects or groups by."""
    for inside in re.findall(r"\{(.*?)\}", query):
        yield from re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inside)
    for inside in re.findall(r"\b(?:by|without|on)\s*\((.*?)\)", query):
        yield from re.findall(r"\w+", inside)


@pytest.mark.parametrize(("title", "query"), QUERIES, ids=lambda value: value[:60])
def test_a_query_names_metrics_and_tags_that_are_recorded(title: str, query: str) -> None:
    known, names = series(), NAME.findall(query)
    assert names and set(names) <= set(known), title
    tags = set.intersection(*(known[name] for name in names))
    assert set(labels(query)) <= tags, title
    assert 'run=~"$run"' in query
    for name in names:  # a counter is only ever summed or its rate taken; a gauge has no rate
        assert not (re.search(rf"rate\({name}\{{", query) and not name.endswith(("_total", "_bucket"))), title


def test_every_query_can_be_parsed() -> None:
    parser = pytest.importorskip("promql_parser", reason="promql-parser is not installed: queries are not parsed")
    for _, query in QUERIES:
        parser.parse(query.replace("$__rate_interval", "1m").replace("$run", ".*"))


def test_a_legend_names_labels_that_its_query_keeps() -> None:
    for panel in PANELS:
        for target in panel.get("targets", ()):
            kept = set(re.findall(r"\w+", ",".join(re.findall(r"\bby \((.*?)\)", target["expr"])))) - {"le"}
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) == kept, panel["title"]


def test_every_metric_is_on_the_dashboard_in_the_row_of_its_group() -> None:
    shown: dict[str, set[str]] = {}
    row = ""
    for panel in PANELS:
        row = panel["title"].lower() if panel["type"] == "row" else row
        for target in panel.get("targets", ()):
            for name in NAME.findall(target["expr"]):
                shown.setdefault(re.sub("_(bucket|sum|count)$", "", name), set()).add(row)
    assert {metric.exported for metric in METRICS} == set(shown)
    assert [m.exported for m in METRICS if m.group not in shown[m.exported]] == []


def test_the_rows_are_the_groups() -> None:
    assert tuple(panel["title"].lower() for panel in PANELS if panel["type"] == "row") == GROUPS


def test_the_dashboard_can_be_imported_anywhere() -> None:
    assert 36 <= BOARD["schemaVersion"] <= 42  # what Grafana 10 to 12 write
    assert BOARD["id"] is None and BOARD["uid"] == "protea-ray"
    sources, runs = BOARD["templating"]["list"]
    assert (sources["name"], sources["type"], sources["query"]) == ("datasource", "datasource", "prometheus")
    assert runs["name"] == "run" and runs["multi"] and runs["includeAll"]
    name, label = re.fullmatch(r'label_values\(\{__name__=~"(.+)"\}, (\w+)\)', runs["definition"]).groups()  # type: ignore[union-attr]
    assert runs["definition"] == runs["query"]["query"]
    assert all(re.fullmatch(name, metric.exported) and label in metric.tags for metric in METRICS)
    own = {"type": "prometheus", "uid": "${datasource}"}
    held = [runs, *(p for p in PANELS if p["type"] != "row"), *(t for p in PANELS for t in p.get("targets", ()))]
    assert all(one["datasource"] == own for one in held)


def test_panels_have_their_own_id_and_place() -> None:
    ids = [panel["id"] for panel in PANELS]
    assert len(set(ids)) == len(ids)
    taken: dict[tuple[int, int], str] = {}
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["x"] >= 0 and place["x"] + place["w"] <= COLUMNS and place["w"] > 0 < place["h"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
    assert len(taken) == sum(panel["gridPos"]["w"] * panel["gridPos"]["h"] for panel in PANELS)
    refs = [[target["refId"] for target in panel.get("targets", ())] for panel in PANELS]
    assert all(len(set(some)) == len(some) for some in refs)


def test_the_page_has_the_table_of_the_code() -> None:
    text = metrics_page.PAGE.read_text(encoding="utf-8")
    assert metrics_page.with_table(text) == text, "python -m tools.metrics_page"
