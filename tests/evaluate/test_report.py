"""The files of a report, made from rows alone."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from protea_ray.evaluate import report
from protea_ray.evaluate.report import EvaluationTables, write_report
from protea_ray.evaluate.tables.scores import score_table
from protea_ray.store.evaluations import EVALUATIONS
from tests.evaluate.tables import made

PNG = b"\x89PNG\r\n\x1a\n"
SECOND = made.second_layer()
RESULTS = pa.concat_tables(
    [
        made.rows(
            "localization",
            "classification",
            {given: {"macro_f1": 0.5 - 0.05 * n, "mcc": 0.4 - 0.05 * n} for n, given in
             enumerate((made.SMALL, SECOND, *made.CONTROLS))},
            counts={"all": 2000, "without_relatives": 900, "up_to_1022": 1700, "above_2046": 29},
        ),
        made.rows("ss", "residue", {made.SMALL: {"accuracy": 0.66, "macro_f1": 0.6, "mcc": 0.4}}, probes=["linear"]),
    ]
)  # fmt: skip


def test_everything_is_written_and_can_be_read_again(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    paths = write_report(RESULTS, ["ss: 3 chains | left out"], tmp_path / "new" / "out")

    names = ["report.md", "results.json", "results.parquet", "probes.png", "lengths.png", "layers.png"]
    assert paths == [tmp_path / "new" / "out" / name for name in names]
    assert all(path.read_bytes()[:8] == PNG for path in paths[3:])
    rows = pq.read_table(paths[2])
    assert rows.schema.names == [name for name in EVALUATIONS.names if name != "resampled"]
    assert rows.equals(RESULTS.drop_columns(["resampled"]))
    plain = json.loads(paths[1].read_text())
    assert plain["notes"] == ["ss: 3 chains | left out"]
    assert plain["scores"] == json.loads(json.dumps(score_table(RESULTS).to_json()))
    assert [table["probe"] for table in plain["normalised"]] == ["linear", "mlp"]
    assert {i["input"]: i["version"] for i in plain["inputs"]}[made.SMALL.name] == 3
    assert {t["task"]: t["split"] for t in plain["tasks"]} == {"localization": "given", "ss": "given"}


def test_the_page_has_every_table_whole(tmp_path: Path) -> None:
    page = write_report(RESULTS, ["a note"], tmp_path)[0].read_text()
    for title in ("Scores", "Normalised scores, mlp probe", "Scores by length, linear probe", "Layers, mlp probe",
                  "Differences", "Tasks", "Inputs"):  # fmt: skip
        assert f"## {title}\n" in page
    assert "* a note\n" in page
    assert "| localization | macro_f1 | small-1a2b3c4d | 2,000 | 0.500 ± 0.002 |" in page
    assert '`{"layer_agg": "mean", "layers": [1], "normalize": true, "pooling": ["mean"]}` |' in page
    for line in (line for line in page.splitlines() if line.startswith("|")):
        assert line.endswith("|")


def test_a_name_cannot_break_out_of_the_page(tmp_path: Path) -> None:
    odd = made.Given("a|b\n# c")
    page = write_report(made.rows("t", "classification", {odd: {"macro_f1": 0.5}}), ["x\n# y"], tmp_path)[0].read_text()
    assert "\n# c" not in page
    assert "\n# y" not in page
    assert "a\\|b" in page


def test_a_picture_that_this_report_has_nothing_for_goes(tmp_path: Path) -> None:
    for name in ("lengths.png", "layers.png", "mine.png"):
        (tmp_path / name).write_bytes(b"old")
    few = made.rows("t", "classification", {made.SMALL: {"macro_f1": 0.5}})
    paths = write_report(few, [], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*(path.name for path in paths), "mine.png"])
    assert "lengths.png" not in {path.name for path in paths}


def test_without_matplotlib_the_rest_is_written_and_the_page_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "drawable", lambda: False)
    paths = write_report(RESULTS, [], tmp_path)
    assert [path.name for path in paths] == ["report.md", "results.json", "results.parquet"]
    assert 'no pictures: pip install "protea-ray[evaluate]" installs matplotlib' in paths[0].read_text()


def test_no_results_are_a_report_without_tables(tmp_path: Path) -> None:
    paths = write_report(EVALUATIONS.empty_table(), ["nothing was asked"], tmp_path)
    assert "## Scores" not in paths[0].read_text()
    assert "* nothing was asked" in paths[0].read_text()
    assert json.loads(paths[1].read_text())["scores"] == {"values": [], "noise": []}


def test_a_baseline_is_that_of_lengths_and_differences() -> None:
    tables = EvaluationTables.make(RESULTS, "composition")
    assert {value.other.name for value in tables.differences.values} == {"composition"}
    assert {value.baseline.name for value in tables.lengths[0].values if value.baseline} == {"composition"}


def test_a_table_is_text_html_and_markdown(tmp_path: Path) -> None:
    table = score_table(made.rows("<t>", "classification", {made.SMALL: {"macro_f1": 0.5}}))
    assert repr(table).splitlines()[0] == "Scores"
    assert "0.500 ± 0.002" in repr(table)
    assert "<caption>Scores</caption>" in table._repr_html_()
    assert "<td>&lt;t&gt;</td>" in table._repr_html_()
    assert table.to_markdown().startswith("## Scores\n\n| task | metric |")
