"""The pictures of a report as files."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from protea_ray.errors import ConfigError
from protea_ray.pictures import style
from protea_ray.pictures.map_data import MapColumn
from protea_ray.query.drift import Agreement, Drift, Side
from protea_ray.reporting.figures import write_figures
from tests.pictures import made

ALWAYS = ["lengths", "rejects", "flow", "rate", "stages"]
DRIFT = Drift(Side("a", 1, "m", 4, 9, True), Side("b", 1, "m", 4, 9, True), "mean", 9, 3, 0.4,
              Agreement("all", 9, 0.9, 0.8, 0.5), (), ())  # fmt: skip


def both(names: list[str]) -> list[str]:
    return [f"{name}.{kind}" for name in names for kind in ("png", "svg")]


def test_every_picture_is_written_twice(tmp_path: Path) -> None:
    files = write_figures(tmp_path / "new" / "out", made.facts(), made.space_map(), DRIFT)
    assert [file.name for file in files] == both([*ALWAYS, "map", "map-score", "map-kind", "drift"])
    for file in files:
        if file.suffix == ".png":
            assert file.read_bytes().startswith(b"\x89PNG")
        else:
            ElementTree.parse(file)


def test_without_a_map_and_a_second_space_the_rest_is_written(tmp_path: Path) -> None:
    files = write_figures(tmp_path, made.facts(runs=(), lengths=(), rejects=()), None, None)
    assert [file.name for file in files] == both(ALWAYS)


def test_names_of_columns_do_not_leave_the_folder_or_meet(tmp_path: Path) -> None:
    names = ["../../x", "a/b", "a b", "A b", "\x00", "n" * 10_000]
    columns = (MapColumn("length", np.arange(6.0)), *(MapColumn(name, ["v"] * 6) for name in names))
    files = write_figures(tmp_path, made.facts(), made.space_map(columns=columns), None)
    assert len({str(file).lower() for file in files}) == len(files) == 2 * (len(ALWAYS) + 7)
    assert all(file.resolve().parent == tmp_path.resolve() for file in files)


def test_a_file_in_place_of_the_folder_and_no_matplotlib_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file; pictures are written to a folder"):
        write_figures(tmp_path / "file", made.facts(), None, None)
    monkeypatch.setattr(style, "drawable", lambda: False)
    with pytest.raises(ConfigError, match=r"protea-ray\[report\]"):
        write_figures(tmp_path / "out", made.facts(), None, None)
    assert not (tmp_path / "out").exists()
