"""`protea-ray export` as a person calls it, and how results look in a terminal and a notebook."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import protea_ray
from protea_ray.errors import ConfigError, StoreError
from protea_ray.pipeline.accounting import SpaceCount, Summary
from protea_ray.store.location import Location
from protea_ray.store.spaces import ensure_space
from tests.cli.test_upkeep import SPACE, call, call_json
from tests.store import build

NASTY = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> Location:
    """Twenty proteins in one space, and an empty second one whose model has an ugly name."""
    made = build.store(tmp_path_factory.mktemp("cli") / "s", range(20))
    ensure_space(made, build.info("second", checkpoint={"model": NASTY, "revision": None, "files": {}}), build.schema())
    return made


def test_a_file_is_written_and_accounted_for(location: Location, tmp_path: Path) -> None:
    out = tmp_path / "v.npz"
    done = call_json(
        "export", location.uri, out, "--space", SPACE, "--id", "P00003", "--id", "P00009", "--id", "other", code=1
    )

    assert done == {"path": str(out), "rows": 2, "left_out": 0, "unknown": ["other"], "notes": [], "trained": True}
    with np.load(out, allow_pickle=False) as arrays:
        assert arrays["id"].tolist() == ["P00003", "P00009"]
        assert np.array_equal(arrays["mean"][1], build.vector(9))
    assert "20 rows written" in call("export", location.uri, tmp_path / "v.parquet", "--space", SPACE)
    with pytest.raises(StoreError, match="20 have no vector in space second"):
        call("export", location.uri, out, "--space", "second")
    assert np.load(out)["id"].tolist() == ["P00003", "P00009"]  # what was there before stays
    same = protea_ray.export(location.uri, tmp_path / "again.npz", space=SPACE, ids=["P00003", "P00009"])
    assert (same.rows, same.unknown) == (2, ())


def test_the_ending_decides(location: Location, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the ending must be one of"):
        call("export", location.uri, tmp_path / "v.txt", "--space", SPACE)


def test_a_store_shows_itself(location: Location) -> None:
    store = protea_ray.open_store(location.uri)
    status = store.status()

    assert repr(store) == f"Store({location.uri!r}: 20 protein records, 2 spaces)"
    lines = repr(status).splitlines()
    assert lines[0] == f"{location.uri}: 20 protein records"
    assert any(line.startswith(SPACE) and "20" in line and "mean 8 x float32" in line for line in lines)
    assert max(map(len, lines[1:])) <= 160
    html = store._repr_html_()
    assert html == status._repr_html_()
    assert "&lt;script&gt;" in html
    assert "<script" not in html
    assert json.dumps(status.to_json())


def test_a_store_that_is_gone_still_has_a_representation(tmp_path: Path) -> None:
    store = protea_ray.Store(build.store(tmp_path / "gone", range(2)))
    for file in sorted((tmp_path / "gone").rglob("*.manifest")):
        file.write_bytes(b"broken")
    assert store._repr_html_().startswith("Store(&#x27;")


def test_a_summary_shows_its_accounting() -> None:
    counts = (SpaceCount("esm2-1", 1200, 3, 4, 5), SpaceCount("esm2-2", 1212, 0, 0, 0))
    summary = Summary("r1", "s", NASTY, False, "cpu", 2, 1212, counts, 99_000, 3.0, 2.0, 1.0, 1.0, 0.5, 4096, "a", "b",
                      ("layer 0", "layer 1"), (), "esm2-1", None, False)  # fmt: skip

    title, header, first, second = repr(summary).splitlines()
    assert title == f"s: {NASTY} (untrained), 99,000 residues embedded in 3.0 s"
    assert header.split() == ["space", "in", "stored", "duplicate", "rejected", "already", "present"]
    assert (first.split(), second.split()[:3]) == (
        ["esm2-1", "1,212", "1,200", "3", "4", "5"],
        ["esm2-2", "1,212", "1,212"],
    )
    html = summary._repr_html_()
    assert "<td>1,200</td>" in html
    assert "<script" not in html
