"""What evaluate prints: the tables of the first probe, what they cannot say, and the files of a report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from protea_ray.cli import show_evaluation
from protea_ray.cli.show_evaluation import print_evaluation, print_written
from protea_ray.store.evaluations import EVALUATIONS
from tests.evaluate.tables import made

SECOND = replace(made.second_layer(), name="esm2-facebook-esm2_t33_650M_UR50D-mean-l1-1a2b3c4d")
RESULTS = made.rows(
    "localization",
    "classification",
    {g: {"macro_f1": 0.5 - 0.05 * n, "mcc": 0.4} for n, g in enumerate((made.SMALL, SECOND, *made.CONTROLS))},
    counts={"all": 2000, "without_relatives": 900, "up_to_1022": 1700},
)


def test_every_table_of_the_first_probe_and_the_notes(capsys: pytest.CaptureFixture[str]) -> None:
    print_evaluation(RESULTS, ["localization: 23 proteins have two labels and are left out"])
    said = capsys.readouterr().out
    titles = ["Scores", "Normalised scores, linear probe", "Scores by length, linear probe", "Layers, linear probe",
              "Differences"]  # fmt: skip
    assert [line for line in said.splitlines() if line in titles] == titles
    assert ", mlp probe" not in said
    assert said.splitlines()[-1] == "note: localization: 23 proteins have two labels and are left out"
    (row,) = (line for line in said.splitlines() if line.startswith("localization") and "1,700" in line and
              made.SMALL.name in line.split()[6:7])  # fmt: skip
    assert made.UNTRAINED.name in row


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_a_name_is_whole_at_every_width(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    print_evaluation(RESULTS, [])
    said = capsys.readouterr().out
    for given in (made.SMALL, SECOND, *made.CONTROLS):
        assert given.name in said
    assert "..." not in said


def test_no_results_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    print_evaluation(EVALUATIONS.empty_table(), [])
    assert capsys.readouterr().out == "no results\n"


def test_files_are_named_and_missing_pictures_explained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(show_evaluation, "drawable", lambda: False)
    print_written([Path("out/report.md"), Path("out/results.json")])
    first, second = capsys.readouterr().out.splitlines()
    assert first == "written: out/report.md, out/results.json"
    assert second.startswith('no pictures: pip install "protea-ray[evaluate]"')
