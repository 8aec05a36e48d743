"""The token budget: what fits, what a calibration tries and tells, and that a smaller one is remembered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from protea_ray.encoder import batch
from protea_ray.encoder.budget import MOST_TOKENS, STEP, bytes_of_token, default_budget, time_packs, tokens_that_fit
from protea_ray.models.families.base import Shape

ESM2_650M = Shape(hidden=1280, layers=33, heads=20, head_dim=64, ffn=5120, vocabulary=33)


def test_a_token_of_esm2_650m_in_half_precision() -> None:
    # by hand: stream, norm, residual 3 x 1280; before and after GELU 2 x 5120; the kept row, twice in float32
    assert bytes_of_token(ESM2_650M, 2, 1280) == 2 * (3 * 1280 + 2 * 5120) + 2 * 4 * 1280


def test_the_budget_grows_with_memory_between_its_limits() -> None:
    each = bytes_of_token(ESM2_650M, 2, 1280)
    found = [tokens_that_fit(gib << 30, each) for gib in (0, 1, 2, 80)]
    assert found == sorted(found)
    assert found[0] == STEP
    assert found[-1] == MOST_TOKENS
    assert all(tokens % STEP == 0 for tokens in found)
    assert found[1] * each <= 1 << 30


def test_a_cpu_has_a_budget_of_its_cache() -> None:
    assert default_budget(torch.device("cpu"), ESM2_650M, 4, 1280) == 1536


class Timed:
    """An encoder that has a clock of its own: every token takes `each` seconds."""

    def __init__(self, monkeypatch: Any, each: float, token_budget: int = 1024) -> None:
        self.token_budget, self.each, self.now, self.packs = token_budget, each, 0.0, []
        monkeypatch.setattr("protea_ray.encoder.budget.time.perf_counter", lambda: self.now)

    def embed(self, sequences: Sequence[str]) -> Iterator[Any]:
        self.packs.append([len(s) for s in sequences])
        self.now += self.each * sum(map(len, sequences))
        return iter(())


def test_a_fast_encoder_is_timed_at_two_lengths_under_its_whole_budget(monkeypatch: Any) -> None:
    encoder = Timed(monkeypatch, 1e-4, 4096)
    timings = time_packs(encoder, None)
    assert [(len(t.residues), int(t.residues[0])) for t in timings] == [(32, 126), (4, 1022)]
    assert all(t.seconds == pytest.approx(1e-4 * t.residues.sum()) for t in timings)


def test_a_slow_encoder_is_asked_for_one_short_protein(monkeypatch: Any) -> None:
    encoder = Timed(monkeypatch, 0.02)
    (timing,) = time_packs(encoder, None)
    assert encoder.packs == [[126]]
    assert timing.residues.tolist() == [126]


@pytest.mark.parametrize("longest", [1, 40, 126])
def test_no_protein_is_longer_than_the_window(longest: int, monkeypatch: Any) -> None:
    encoder = Timed(monkeypatch, 1e-5)
    timings = time_packs(encoder, longest)
    assert {length for pack in encoder.packs for length in pack} == {longest}
    assert len(timings) == 1


def test_a_calibration_finds_a_budget_that_fits(encoder: Any, monkeypatch: Any) -> None:
    real = batch.run

    def run(core: Any, plans: Any, windows: Any) -> Any:
        if sum(len(window.ids) for window in windows) > 1000:
            raise torch.OutOfMemoryError("not enough")
        return real(core, plans, windows)

    monkeypatch.setattr(batch, "run", run)
    small = encoder("esm2", {}, token_budget=4096)
    timings = time_packs(small, 200, patience=1e9)
    assert 500 <= small.token_budget <= 1000
    assert all(np.isfinite(t.seconds) and t.seconds > 0 for t in timings)
