"""The folder of a comparison, made from rows alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from protea_ray.comparison import variant_plots, variant_report
from protea_ray.comparison.advice import advice
from protea_ray.comparison.drift_file import drift_directory, drift_json, measured_drift, write_measured_drift
from protea_ray.comparison.variant_report import PICTURES, write_comparison_report
from protea_ray.config.attention_forms import attention_variant
from protea_ray.errors import ConfigError
from protea_ray.models.checkpoint import open_checkpoint
from protea_ray.models.measured_drift import approximation_note
from protea_ray.testing.random_checkpoint import build
from tests.comparison import made_rows as made

PNG = b"\x89PNG\r\n\x1a\n"
FOUND = made.measured(
    made.losses("local:512", 0.0, 0.0, -0.09, -0.05), made.losses("nystrom:64", 0.9),
    made.costs("local:512", 60.0, 520.0), made.costs("nystrom:64", 50.0, 400.0),
    made.pooled("local:512", 0.98, 0.92), made.layers("local:512", 0.1), made.layers("nystrom:64", 0.9),
)  # fmt: skip


def test_everything_is_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "new" / "out"
    paths = write_comparison_report(out, FOUND, [], ["nothing above 8,192 | residues"])
    assert [path.name for path in paths] == ["report.md", "variants.json", "fidelity.png", "loss.png", "cost.png"]
    assert all(path.read_bytes()[:8] == PNG for path in paths[2:])
    page = paths[0].read_text()
    for said in ("# Variants of small\n", advice(FOUND), "* nothing above 8,192 | residues", "## Cost by variant",
                 "## Cost by length", "![loss](loss.png)"):  # fmt: skip
        assert said in page
    plain = json.loads(paths[1].read_text())
    assert (plain["model"], plain["trained_length"], plain["advice"]) == ("small", 1022, advice(FOUND))
    assert plain["rows"] == drift_json(FOUND)["rows"]
    assert [table["title"] for table in plain["tables"]] == ["Cost by variant", "Cost by length"]
    assert len(plain["tables"][1]["values"]) == 9


def test_a_picture_that_this_report_has_nothing_for_goes(tmp_path: Path) -> None:
    for name in (*PICTURES, "mine.png"):
        (tmp_path / name).write_bytes(b"old")
    paths = write_comparison_report(tmp_path, made.measured(made.pooled("exact", 1.0, 1.0)), [])
    assert [path.name for path in paths] == ["report.md", "variants.json"]
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["mine.png"]


def test_without_matplotlib_the_page_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variant_report, "drawable", lambda: False)
    paths = write_comparison_report(tmp_path, FOUND, [])
    assert len(paths) == 2
    assert "installs matplotlib" in paths[0].read_text()


def test_names_are_whole_and_a_variant_looks_the_same_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    pytest.importorskip("matplotlib")
    drawn: list[dict[str, Any]] = []

    def keep(figure: Any, axes: Any, path: Path, entries: int) -> None:
        handles: dict[str, Any] = {}
        for one in axes:
            handles.update(zip(*reversed(one.get_legend_handles_labels()), strict=True))
        drawn.append({label.split(": time")[0]: handle[0].get_color() for label, handle in handles.items()})
        assert entries == len(handles)

    monkeypatch.setattr(variant_plots, "save_with_legend", keep)
    assert all(draw(FOUND, tmp_path / name) for name, draw in PICTURES.items())
    assert [sorted(names) for names in drawn] == [
        ["local:512", "nystrom:64"], *[["local:512", "nystrom:64", "windows"]] * 2
    ]  # fmt: skip
    assert len({picture["nystrom:64"] for picture in drawn}) == 1
    assert len(set(drawn[2].values())) == 3


def test_a_protein_alone_has_no_bar_and_an_error_of_zero_no_logarithm(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rows = made.losses("exact", 0.1, error=None), made.layers("exact", 0.0)  # type: ignore[arg-type]
    found = made.measured(*rows)
    assert variant_plots.draw_losses(found, tmp_path / "loss.png")
    assert not variant_plots.draw_fidelity(found, tmp_path / "fidelity.png")
    assert not variant_plots.draw_costs(found, tmp_path / "cost.png")


def test_a_name_cannot_break_out_of_the_page(tmp_path: Path) -> None:
    odd = made.measured(made.costs("a|b\n# c", 1.0, 1.0), made.losses("a|b\n# c", -0.5))
    page = write_comparison_report(tmp_path, odd, [], ["x\n# y"])[0].read_text()
    assert "\n# c" not in page
    assert "\n# y" not in page


def test_the_drift_beside_a_checkpoint(tmp_path: Path) -> None:
    """Means over proteins; what was not measured is null, and the default has nothing to differ from."""
    path = write_measured_drift(tmp_path, FOUND)
    assert path == tmp_path / "variants.json"
    rows = json.loads(path.read_text())["rows"]
    assert [row["variant"] for row in rows] == ["local:512", "nystrom:64"]
    assert rows[0] == {"variant": "local:512", "loss_difference": pytest.approx(-0.035), "pooled_cosine":
                       pytest.approx(0.98), "neighbours_kept": pytest.approx(0.92)}  # fmt: skip
    assert (rows[1]["loss_difference"], rows[1]["pooled_cosine"]) == (pytest.approx(0.9), None)
    assert [path.name for path in tmp_path.iterdir()] == ["variants.json"]
    assert measured_drift(made.measured(made.costs("exact", 1.0, 1.0))) == []


def test_a_loss_of_some_proteins_alone_is_no_measured_drift() -> None:
    """nystrom is exact for short proteins and rejects the others: their mean would say that it costs nothing."""
    short = made.losses("nystrom:64", 0.0, bins=made.SHORT)
    rejected = made.losses("favor:9,0", 0.1, proteins=made.PROTEINS - 1)
    rows = measured_drift(made.measured(short, rejected, made.pooled("nystrom:64", 0.9, 0.8)))
    assert [(row.variant, row.loss_difference, row.pooled_cosine) for row in rows] == [
        ("nystrom:64", None, pytest.approx(0.9)),
    ]  # fmt: skip


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"variants\.json cannot be written"):
        write_measured_drift(tmp_path / "file", FOUND)


def test_a_run_under_a_variant_finds_what_was_measured(tmp_path: Path) -> None:
    """Written by the comparison, read by the warning of a run."""
    build("esm2", tmp_path, layers=1, hidden=32, heads=2)
    checkpoint = open_checkpoint(str(tmp_path))
    asked = attention_variant("nystrom:64")
    assert "Not measured" in str(approximation_note(checkpoint, asked))
    write_measured_drift(drift_directory(checkpoint), FOUND)
    assert "Measured: masked loss +0.900 nats" in str(approximation_note(checkpoint, asked))
    assert open_checkpoint(str(tmp_path)).files == checkpoint.files


def test_a_directory_that_cannot_be_written_is_refused_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build("esm2", tmp_path, layers=1, hidden=32, heads=2)
    checkpoint = open_checkpoint(str(tmp_path))
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(ConfigError, match=r"cannot be written to; copy variants\.json out of"):
        drift_directory(checkpoint)
