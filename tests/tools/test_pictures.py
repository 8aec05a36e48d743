"""The README's benchmark is what the log of docs/performance.md says, and both pictures are there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

from tools.pictures import DOCS, draw_benchmark

LOG = "batch of 8 863, batch of 32 645, sorted\n  2,903, **encoder 3,578: 4.15 times the first and 1.23 times sorted"


def test_the_bars_are_the_figures_of_the_log() -> None:
    assert LOG in (DOCS / "performance.md").read_text()
    figure = draw_benchmark(json.loads((DOCS / "benchmark.json").read_text()))
    assert [bar.get_width() for bar in figure.axes[0].patches] == [863, 645, 2_903, 3_578]
    assert "protea_ray encoder, float32: 3,578 residues/s, 4.15 times the first" in figure.description


@pytest.mark.parametrize("page", ["../README.md", "index.md", "performance.md"])
def test_every_picture_of_a_page_is_there_with_a_text_for_it(page: str) -> None:
    found = re.findall(r"!\[(.*?)\]\((.+?)\)", (DOCS / page).read_text())
    assert found
    for text, path in found:
        assert len(text) > 20
        assert Path(DOCS / page).parent.joinpath(path).read_bytes().startswith(b"\x89PNG")
