"""The program that measures one protein, called in this process."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from protea_ray.comparison import cost_process
from protea_ray.comparison.cost_process import CostQuestion, answer, random_protein
from protea_ray.testing.random_checkpoint import build

linux = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
MB = 1 << 20


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.set_num_threads(1)
    return str(build("esm2", tmp_path_factory.mktemp("cost") / "model", layers=2, hidden=32, heads=2))


@linux
def test_the_peak_is_that_of_the_work_alone() -> None:
    """200 MB before the work do not count, and 64 MB that the work frees again do."""
    earlier = np.ones(200 * MB, np.uint8)
    del earlier
    seconds, _, base, peak, why = cost_process._on_cpu(lambda: str(np.ones(64 * MB, np.uint8).sum()))
    assert 62 * MB < peak - base < 80 * MB
    assert why == str(64 * MB)
    assert seconds > 0


def test_a_protein_is_measured(model: str) -> None:
    found = answer(CostQuestion({"model": model, "max_residues": 5000, "attention": "local:64"}, 700))
    assert (found.device, found.why) == ("cpu", None)
    assert (found.seconds or 0) > 0
    assert (found.base_bytes or 0) > 50 * MB
    assert (found.peak_bytes or 0) >= 0


def test_the_pass_keeps_nothing_but_a_mean(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the variant's fields say, no residues and no other layers are kept: they would be measured too."""
    seen: list[Any] = []
    monkeypatch.setattr(cost_process, "_embed", lambda encoder, protein: seen.append((encoder, protein)))
    answer(CostQuestion({"model": model, "pooling": ["none"], "layers": [0, 1], "max_residues": 900}, 800))
    (encoder, warm_up), (_, protein) = seen
    assert (encoder.recipes[0].pooling, encoder.recipes[0].layers) == (("mean",), (0,))
    assert encoder.recipes[0].max_residues == 900
    assert (len(warm_up), len(protein)) == (cost_process.WARM_UP, 800)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"on_long": "reject", "max_residues": 400, "window_overlap": 0}, "too_long: 700 residues"),
        ({"layers": (0,), "attention": "somewhere"}, "'somewhere' is not known"),
        ({"alphabet": "3di"}, "has no tokens for 3di"),
        ({"model": "/nowhere/at/all"}, "/nowhere/at/all"),
    ],
)
def test_what_cannot_be_done_is_answered_in_words(model: str, fields: dict[str, Any], why: str) -> None:
    found = answer(CostQuestion({"model": model, **fields}, 700))
    assert why in str(found.why)
    assert "\n" not in str(found.why)
    assert (found.seconds, found.peak_bytes) == (None, None)


def test_memory_that_is_not_there_is_an_answer_and_a_bug_is_none(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = CostQuestion({"model": model}, 400)

    def fails(error: Exception) -> None:
        def raising(*_: object) -> None:
            raise error

        monkeypatch.setattr(cost_process, "_embed", raising)

    fails(RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"))
    assert answer(asked).why == "there is not enough memory"
    fails(RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        answer(asked)


def test_question_and_answer_are_one_json_object_each(
    model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    asked = {"fields": {"model": model}, "length": 320, "device": "cpu", "seed": 3}
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(asked)))
    cost_process.main()
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(found) == {"device", "seconds", "wall_seconds", "base_bytes", "peak_bytes", "why"}
    assert found["why"] is None


def test_the_letters_follow_from_the_seed() -> None:
    assert random_protein(50, 1) == random_protein(50, 1) != random_protein(50, 2)
    assert set(random_protein(5000, 0)) == set("ACDEFGHIKLMNPQRSTVWY")
    assert random_protein(50, 1, "3di") == random_protein(50, 1).lower()
