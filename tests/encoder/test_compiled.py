"""Which layers are compiled, what is said about it, and that the compiler changes no number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from protea_ray.encoder.acceleration import OFF, ON, choose_compiling
from protea_ray.errors import EncoderError
from tests.encoder.conftest import proteins


def test_a_gpu_compiles_where_a_compiler_is_and_a_cpu_does_not(monkeypatch: Any) -> None:
    monkeypatch.setattr("protea_ray.encoder.acceleration.find_spec", lambda name: object())
    assert choose_compiling("cuda:0", "varlen").name == ON
    assert choose_compiling("cuda", "flex").name == OFF
    assert choose_compiling("cpu", "sdpa").name == OFF
    monkeypatch.setattr("protea_ray.encoder.acceleration.find_spec", lambda name: None)
    assert choose_compiling("cuda", "varlen").name == OFF
    assert "triton" in choose_compiling("cuda", "varlen").why


def test_asking_is_obeyed_or_refused_with_what_is_missing(monkeypatch: Any) -> None:
    assert choose_compiling("cuda", "varlen", asked="off").name == OFF
    monkeypatch.setenv("CXX", "true")
    assert choose_compiling("cpu", "sdpa", asked="on").name == ON
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(EncoderError, match="no-such-compiler"):
        choose_compiling("cpu", "sdpa", asked="on")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_int4_is_never_compiled(device: str, monkeypatch: Any) -> None:
    monkeypatch.setattr("protea_ray.encoder.acceleration.find_spec", lambda name: object())
    monkeypatch.setenv("CXX", "true")
    assert choose_compiling(device, "sdpa", "int4").name == OFF
    assert choose_compiling(device, "sdpa", "hqq:4", asked="on").name == ON
    with pytest.raises(EncoderError, match="int4 cannot be compiled; use hqq:4"):
        choose_compiling(device, "sdpa", "int4", asked="on")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*")
@pytest.mark.parametrize("family", ["esm2"])
def test_compiled_layers_give_the_same_vectors(family: str, encoder: Any) -> None:
    """With the real compiler, which fuses and reorders: 1e-5, as every path in float32."""
    if not _compiler():
        pytest.skip("no C++ compiler here")
    sequences = proteins(3, 90, 200, 7, 130, 45, 61)
    expected = {r.index: r.pooled["mean"] for r in encoder(family, {}).embed(sequences)}
    run = encoder(family, {}, token_budget=210, compiled="on")
    assert run.layers.name == ON
    for result in run.embed(sequences):
        assert np.abs(result.pooled["mean"] - expected[result.index]).max() < 1e-5
    assert run.stats.forward_passes > 2


def _compiler() -> bool:
    try:
        choose_compiling("cpu", "sdpa", asked="on")
    except EncoderError:
        return False
    return True
