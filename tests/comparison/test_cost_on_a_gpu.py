"""What a cost is measured by on a GPU, without one: torch's events and allocator are replaced by figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from protea_ray.comparison import cost_process, variant_plots
from protea_ray.comparison.cost_process import CostQuestion, answer
from protea_ray.comparison.variant_plots import draw_costs
from protea_ray.testing.random_checkpoint import build
from tests.comparison import made_rows as made


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls of torch.cuda in order; two events are 250 ms apart, 40 bytes were allocated before and 640 at most."""
    seen: list[str] = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            seen.append("recorded")

        def elapsed_time(self, other: Event) -> float:
            return 250.0 if other is not self else 0.0

    for name, value in {"empty_cache": None, "reset_peak_memory_stats": None, "synchronize": None,
                        "memory_allocated": 40, "max_memory_allocated": 640}.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, lambda n=name, v=value: seen.append(n) or v)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    return seen


def test_time_is_between_events_and_memory_is_what_was_allocated(calls: list[str]) -> None:
    seconds, _, base, peak, why = cost_process._on_cuda(lambda: calls.append("work"))
    assert (seconds, base, peak, why) == (0.25, 40, 640, None)
    assert calls.index("reset_peak_memory_stats") < calls.index("memory_allocated") < calls.index("recorded")
    work, waited = calls.index("work"), calls.index("synchronize")
    assert calls[work - 1 : work + 2] == ["recorded", "work", "recorded"]
    assert waited < calls.index("max_memory_allocated"), "the peak is read when the pass is over"


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_a_device_is_measured_in_its_own_way(
    kind: str, calls: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build("esm2", tmp_path / "model", layers=1, hidden=32, heads=2)
    encoder = SimpleNamespace(recipes=[SimpleNamespace(alphabet="aa")], core=SimpleNamespace(device=torch.device(kind)))
    monkeypatch.setattr("protea_ray.encoder.in_memory.encoder_here", lambda *given, **more: encoder)
    monkeypatch.setattr(cost_process, "_embed", lambda encoder, protein: None)
    found = answer(CostQuestion({"model": str(model)}, 700))
    assert found.device == kind
    assert (found.seconds == 0.25, found.peak_bytes == 600) == ((kind == "cuda"),) * 2
    assert bool(calls) == (kind == "cuda")


@pytest.mark.parametrize(("device", "clock"), [("cpu", "CPU seconds of one thread"), ("cuda", "seconds on the GPU")])
def test_the_picture_says_which_clock(device: str, clock: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    units: list[str] = []
    drawn: Any = variant_plots.panel
    monkeypatch.setattr(variant_plots, "panel", lambda *given: units.append(given[-1]) or drawn(*given))
    found = made.measured(made.costs("local:512", 60.0, 520.0))
    assert draw_costs(
        replace(found, cost=tuple(replace(row, device=device) for row in found.cost)), tmp_path / "cost.png"
    )
    assert units == [clock, "MB"]
