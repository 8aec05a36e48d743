"""Each part of the acceptance on a CPU, small, in this process; a change that breaks numbers must be seen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from protea_ray.acceptance import full_memory, numbers, quantised, speed, stored, training_steps
from protea_ray.acceptance.all_parts import accept
from protea_ray.acceptance.by_the_book import nearest_step, nf4
from protea_ray.acceptance.drawn import mixed, of_lengths, pool, sample
from protea_ray.acceptance.verdicts import AcceptanceReport
from protea_ray.encoder import attention
from tests.commands import call

pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning")

PROTEINS = [*of_lengths([40, 7, 33, 61, 40]), *of_lengths([1, 2, 63, 64, 90], seed=1, letters="ACDX")]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def report(tmp_path: Path) -> Iterator[AcceptanceReport]:
    made = AcceptanceReport(tmp_path / "out", {}, say=lambda _: None)
    yield made
    assert not [line.more["traceback"] for line in made.lines if "traceback" in line.more]


def verdicts(report: AcceptanceReport) -> dict[str, str]:
    return {line.line: line.verdict for line in report.lines}


def test_kernels_are_those_that_the_chooser_offers_the_chosen_one_first() -> None:
    assert numbers.kernels("cuda", "float16", False, 64) == ["varlen", "sdpa", "flex"]
    assert numbers.kernels("cuda", "float32", False, 64) == ["sdpa", "flex"]
    assert numbers.kernels("cuda", "bfloat16", True, 64)[0] == attention.choose("cuda", "bfloat16", True).name
    assert sorted(numbers.kernels("cuda", "float16", True, 64)) == ["flex", "toeplitz"]
    assert numbers.kernels("cuda", "float16", False, 20) == ["sdpa", "flex"]


def test_lines_of_a_gpu_have_every_kernel_and_dtype_and_the_chosen_ones_first(tmp_path: Path) -> None:
    numbers.build("esm2", tmp_path / "m", layers=1, hidden=32, heads=4)
    names = [name for name, _ in numbers.lines(numbers.Case("esm2", tmp_path / "m", "cuda", PROTEINS))]
    assert len(set(names)) == len(names)
    assert {tuple(n.split()[1:3]) for n in names[:5]} == {
        ("float16", "varlen"), ("bfloat16", "varlen"), ("float32", "sdpa")
    }  # fmt: skip
    assert {tuple(n.split()[1:]) for n in names} >= {
        (dtype, kernel, "eager")
        for dtype in ("float16", "bfloat16", "float32")
        for kernel in numbers.kernels("cuda", dtype, False, 8)
    }
    assert [n for n in names if "flex compiled" in n] == []


def test_numbers_of_every_family(report: AcceptanceReport, tmp_path: Path) -> None:
    numbers.check(report, "cpu", PROTEINS, tmp_path, 1000)
    found = verdicts(report)
    assert set(found.values()) == {"ok", "not run"} and report.exit_code == 0
    for family in ("esm2", "esmc", "t5", "ankh"):
        exact = "toeplitz" if family in ("t5", "ankh") else "sdpa"
        assert found[f"{family} float32 {exact} eager"] == found[f"{family} bfloat16 flex eager"] == "ok"
        assert found[f"{family}, compiled layers"] == "not run"


def test_a_leak_to_a_neighbour_is_seen(
    report: AcceptanceReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attention over the whole pack in place of each protein's own."""
    real = attention._by_window

    def leaking(q: Any, k: Any, v: Any, cu: Any, run: Any) -> Any:
        return real(q, k, v, torch.tensor([0, len(q)], dtype=cu.dtype), run)

    monkeypatch.setattr(attention, "_by_window", leaking)
    monkeypatch.setattr(numbers, "NARROW", {"esm2": numbers.NARROW["esm2"]})
    numbers.check(report, "cpu", PROTEINS, tmp_path, 1000)
    found = verdicts(report)
    assert found["esm2 float32 sdpa eager"] == found["esm2 bfloat16 sdpa eager"] == "missed"
    assert found["esm2 float32 flex eager"] == "ok" and report.exit_code == 1


def test_without_a_reference_no_kernel_is_right(report: AcceptanceReport, tmp_path: Path, monkeypatch: Any) -> None:
    def no_memory(*_: Any, **__: Any) -> list[None]:
        return [None] * len(PROTEINS)

    monkeypatch.setattr(numbers, "plain_states", no_memory)
    monkeypatch.setattr(numbers, "NARROW", {"esm2": numbers.NARROW["esm2"]})
    numbers.check(report, "cpu", PROTEINS, tmp_path, 1000)
    assert set(verdicts(report).values()) == {"not run"} and len(report.lines) == 2


def test_all_quantisations(report: AcceptanceReport, tmp_path: Path) -> None:
    for package in ("torchao", "bitsandbytes", "hqq"):
        pytest.importorskip(package)
    quantised.check(report, "cpu", PROTEINS, tmp_path, 1000)
    assert set(verdicts(report).values()) == {"ok"} and len(report.lines) == 18


def test_one_scale_for_all_is_not_int8_by_the_book(report: AcceptanceReport, tmp_path: Path, monkeypatch: Any) -> None:
    pytest.importorskip("torchao")

    def one_scale(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scale = (x.abs().amax() / 127.5).expand(*x.shape[:-1], 1)
        return (x / scale).round().clamp(-128, 127), scale

    monkeypatch.setattr("protea_ray.acceptance.by_the_book._int8", one_scale)
    quantised.check(report, "cpu", PROTEINS, tmp_path, 1000)
    assert verdicts(report)["esm2 int8 float32, by the book"] == "missed"


def test_nf4_in_words_keeps_the_largest_weight_and_rounds_to_the_nearest_level() -> None:
    weight = torch.zeros(1, 64)
    weight[0, :4] = torch.tensor([2.0, -2.0, 0.07, 2 * 0.7230])
    assert nf4(weight)[0, :5].tolist() == pytest.approx([2.0, -2.0, 0.0, 2 * 0.7229568, 0.0], abs=1e-6)
    linear = nn.Linear(64, 64)
    weight = linear.weight.detach()
    assert float((nf4(weight) - weight).abs().max() / weight.abs().max()) < 0.16


def test_equal_steps_in_words_keep_both_ends_and_round_to_the_nearest() -> None:
    weight = torch.linspace(-1, 2, 64)[None]
    found = nearest_step(weight, 2)
    assert sorted(set(found[0].tolist())) == [-1.0, 0.0, 1.0, 2.0] and float((found - weight).abs().max()) <= 0.5


def test_memory_that_runs_out_halves_the_budget(report: AcceptanceReport, tmp_path: Path) -> None:
    full_memory.check(report, "cpu", PROTEINS, tmp_path, 1000)
    assert [line.verdict for line in report.lines] == ["ok"] * 3
    assert report.lines[0].value and "65,536 to" in report.lines[0].message


def test_a_budget_that_is_never_halved_is_seen(report: AcceptanceReport, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(full_memory, "REFUSED", 10**9)
    full_memory.check(report, "cpu", PROTEINS, tmp_path, 1000)
    assert [line.verdict for line in report.lines] == ["missed", "ok", "ok"]


@pytest.mark.slow
def test_speed_says_rates_and_shares(report: AcceptanceReport, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(speed, "BUCKETS", ((1, 32), (33, 64)))
    speed.check(report, "cpu", PROTEINS, tmp_path, 1000)
    assert report.exit_code == 0
    values = {line.line: line.value for line in report.lines}
    for dtype in ("float32", "bfloat16"):
        shares = [values[f"8M {dtype}, {what}"] for what in ("residues/s", "share of the peak")]
        assert all(share and share > 0 for share in shares)
    assert values["8M bfloat16 against float32, proteins lost"] == 0
    assert values["8M bfloat16, 33-64 residues, residues/s"]


def test_targets_are_judged_on_a_gpu_alone() -> None:
    def rate(rate: float, share: float) -> speed.Rate:
        return speed.Rate(rate, share, 0.0, 0.0, 0, 1e12)

    plan = speed.PLANS["cuda"][0]
    found = {"ours": rate(100.0, 0.56), "sorted": rate(49.0, 0.2), "default": rate(26.0, 0.1)}
    judged = {name: m.verdict for name, m in speed._judged(found, plan, "cuda").items()}
    assert judged == {
        "residues/s": "ok", "share of the peak": "ok", "times transformers sorted": "ok",
        "times transformers default": "missed",
    }  # fmt: skip
    assert {m.verdict for m in speed._judged(found, plan, "cpu").values()} == {"ok"}
    found["default"] = rate(0.0, float("nan"))
    lines = speed._judged(found, plan, "cuda")
    assert "no memory" in lines["times transformers default"].message


def test_gradients_of_training_are_transformers(tmp_path: Path) -> None:
    pytest.importorskip("protea_ray.train.masked_model")
    found = training_steps._gradient("cpu", PROTEINS, tmp_path)
    assert {name: m.verdict for name, m in found.items()} == {"loss": "ok", "gradients": "ok"}
    assert found["gradients"].message.startswith("40 parameters")


def test_a_pack_to_train_on_masks_residues_alone(tmp_path: Path) -> None:
    directory = numbers.build("esm2", tmp_path / "m", layers=1, hidden=32, heads=4)
    made = training_steps.pack_of(directory, PROTEINS, 400)
    assert made.rows[-1] == len(made.ids) <= 400 and len(made.rows) > 5
    assert not set(made.chosen) & {*made.rows[:-1], *(made.rows[1:] - 1)}
    assert (made.ids[made.chosen] == training_steps.MASK).all() and (made.targets != training_steps.MASK).all()
    assert 0.05 < len(made.chosen) / len(made.ids) < 0.25
    assert made.positions.max() == np.diff(made.rows).max() - 1


@pytest.mark.slow
def test_training_with_its_recipes(report: AcceptanceReport, tmp_path: Path) -> None:
    pytest.importorskip("protea_ray.train.train_here")
    training_steps.check(report, "cpu", PROTEINS * 4, tmp_path, 1000)
    assert set(verdicts(report).values()) == {"ok"}
    assert verdicts(report)["recipe small"] == "ok"


def test_without_ray_the_pipeline_says_so(report: AcceptanceReport, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(stored, "find_spec", lambda name: None if name == "lance" else object())
    stored.check(report, "cpu", PROTEINS, tmp_path, 1000)
    assert [(line.verdict, line.message.split(":")[0]) for line in report.lines] == [
        ("not run", "lance cannot be imported")
    ]


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_the_pipeline_stores_what_the_encoder_gives(report: AcceptanceReport, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(stored.RESIDUES, "cpu", 600)
    stored.check(report, "cpu", PROTEINS, tmp_path, 1000)
    found = verdicts(report)
    assert found["8M into a store, rows"] == found["8M into a store, vectors"] == "ok" and report.exit_code == 0


def test_enough_proteins_are_different_ones() -> None:
    found = stored._enough(["MKTAY", "MKTA"], 30)
    assert len(set(found)) == len(found) and found[:2] == ["MKTAY", "MKTA"] and "KTAY" in found
    assert stored._enough(["MK"], 2) == ["MK"]


def test_samples_are_the_same_every_time_and_have_few_lengths(tmp_path: Path) -> None:
    drawn = pool(None)[:400]
    chosen = mixed(drawn, 60, 1022, (1, 8192))
    assert chosen == mixed(drawn, 60, 1022, (1, 8192)) and len(chosen) == len(set(chosen))
    assert len({len(s) for s in chosen}) <= 30 and max(map(len, chosen)) == 8192
    assert all(len(s) <= 50 for s in sample(drawn, 10, 50))
    (tmp_path / "p.fasta").write_text(">a\nMKTAY\n>b\nMKTAY\n>c\nGIVEQ\n")
    assert pool(str(tmp_path / "p.fasta")) == ["MKTAY", "GIVEQ"]


def test_the_command_writes_its_report(tmp_path: Path) -> None:
    done = call("doctor", "--acceptance", tmp_path / "out", "--device", "cpu", "--only", "memory")
    assert done.returncode == 0, done.stdout
    found = json.loads((tmp_path / "out" / "acceptance.json").read_text())
    assert found["machine"]["device"] == "cpu" and found["exit_code"] == 0
    assert {line["part"] for line in found["lines"]} == {"memory"}
    assert "## memory" in (tmp_path / "out" / "acceptance.md").read_text()


def test_a_part_that_breaks_outside_its_lines_stops_no_other(tmp_path: Path, monkeypatch: Any) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("cannot be imported")

    monkeypatch.setattr(full_memory, "check", broken)
    report = accept(tmp_path / "out", device="cpu", only="memory", say=lambda _: None)
    assert [(line.line, line.verdict) for line in report.lines] == [("the part itself", "failed")]
    assert report.exit_code == 1
