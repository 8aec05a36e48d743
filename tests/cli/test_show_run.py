"""What a run prints at its end, and how much while it goes on."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from protea_ray.cli.embed import finish
from protea_ray.cli.main import app
from protea_ray.cli.show_run import foretold, print_summary
from protea_ray.pipeline.accounting import SpaceCount, Summary
from protea_ray.pipeline.dry_run import DryRun
from protea_ray.pipeline.reasons import RejectReason
from tests.commands import call

REASONS = (RejectReason("illegal_letter", 12, "p.fasta:3"), RejectReason("empty_sequence", 1, "p.fasta:40"))
SUMMARY = Summary(
    run="r", store="my store", model="small", trained=True, device="cpu", actors=2, records=1_000,
    spaces=(SpaceCount("small-1", 900, 80, 20, 0),), residues=300_000, seconds=42.0, embed_seconds=30.0,
    startup_seconds=12.0, first_vector_seconds=13.0, load_seconds=3.0,
    first_forward_seconds=None, token_budget=1, attention="sdpa",
    layers="eager", recipes=("layer 0 from the end, pooling mean, stored as float16",), reasons=REASONS,
    current="small-1", current_before=None, current_notes=("current -> small-1",),
)  # fmt: skip
PLAN = DryRun("s", "small", 1_000, "cpu", 2, 75.0, 16.0, remembered=False, spaces=())


def printed(summary: Summary, capsys: pytest.CaptureFixture[str]) -> list[str]:
    print_summary(summary)
    return capsys.readouterr().out.splitlines()


def test_a_summary_says_what_was_made_of_what_and_where_current_points(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(SUMMARY, capsys)

    assert len(lines) <= 12
    assert "model: small, layer 0 from the end, pooling mean, stored as float16" in lines
    assert "rejected: 12 illegal_letter (first p.fasta:3), 1 empty_sequence (p.fasta:40), 7 by earlier runs" in lines
    assert "all of them: protea-ray rejects 'my store'" in lines
    assert lines[-3:-1] == ["store: my store", "current -> small-1"]
    assert lines[-1] == (
        "300,000 residues at 10,000 residues/s on 2 cpu actor(s); start-up 12.0 s, embedding 30.0 s, in total 42.0 s"
    )


def test_a_run_without_rejects_names_none(capsys: pytest.CaptureFixture[str]) -> None:
    none = replace(SUMMARY, spaces=(SpaceCount("small-1", 1_000, 0, 0, 0),), reasons=())
    assert not [line for line in printed(none, capsys) if line.startswith(("rejected", "all of"))]


def test_too_many_rejects_are_told_with_their_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as left:
        finish(SUMMARY, 3, None)
    assert left.value.exit_code == 3
    assert capsys.readouterr().err == (
        "20 records were rejected, more than --max-rejects 3: 12 illegal_letter (first p.fasta:3), "
        "1 empty_sequence (p.fasta:40)\n"
    )


def test_a_dry_run_says_start_up_embedding_and_how_sure_that_is() -> None:
    assert foretold(PLAN) == (
        "About 0:16 of start-up, then about 1:15 of embedding on 2 cpu actor(s). The model was timed here just now: "
        "on a machine that does other work as well both take several times as long."
    )
    assert "timed here by an earlier run" in foretold(replace(PLAN, remembered=True))
    assert foretold(replace(PLAN, seconds=0.0)) == "Nothing to embed: about 0:16 of start-up."


@pytest.mark.parametrize("command", [("embed",), ("embed", "--dry-run"), ("reembed",)])
def test_the_first_line_comes_before_what_takes_long_to_import(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("embed", "dry_run", "reembed"):
        monkeypatch.setitem(sys.modules, f"protea_ray.pipeline.{module}", None)
    (tmp_path / "p.fasta").write_text(">a\nMK\n")
    if command == ("reembed",):
        (tmp_path / "s" / "proteins.lance").mkdir(parents=True)
    inputs = [] if command == ("reembed",) else [tmp_path / "p.fasta"]
    done = CliRunner().invoke(app, [*command, *map(str, inputs), str(tmp_path / "s"), "--model", "small"])
    assert isinstance(done.exception, ModuleNotFoundError)
    assert done.stderr == "starting ...\n"


@pytest.mark.parametrize("arguments", [("embed", "p.fasta", "s"), ("reembed", "s"), ("train", "s", "out")])
def test_quiet_and_verbose_exclude_each_other(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s" / "proteins.lance").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    done = call(*arguments, "-v", "-q")
    assert (done.returncode, done.stderr) == (2, "error: arguments: give --verbose or --quiet, not both\n")
