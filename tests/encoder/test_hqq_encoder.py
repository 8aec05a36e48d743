"""hqq in every family: the arithmetic of float32 with the weights as stored, and more like float32 with more bits."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from protea_ray.encoder.canary import check_canaries
from protea_ray.encoder.encoder import Encoder
from protea_ray.encoder.hqq_linear import HqqLinear
from protea_ray.testing.random_checkpoint import FAMILIES, build
from tests.encoder.conftest import load
from tests.encoder.matrices import FIELDS, MATRICES, alone, inside, likeness, parts, rebuilt, states


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Matrices have 96 inputs, no multiple of 64."""
    return cache(lambda family: build(family, tmp_path_factory.mktemp(family) / "wide", hidden=96))


@pytest.fixture(scope="module")
def three_bits(wide: Callable[[str], Path]) -> Callable[[str], Encoder]:
    return cache(lambda family: load(wide(family), FIELDS | {"quantization": "hqq:3"}))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_matrix_is_packed_and_nothing_else_changed(family: str, three_bits: Any, wide: Any) -> None:
    encoder, plain = three_bits(family), load(wide(family), FIELDS)
    assert len(parts(encoder, HqqLinear)) == MATRICES[family] and not parts(encoder, nn.Linear)
    held = dict(inside(plain))
    assert dict(inside(encoder)).keys() == held.keys()
    assert all(torch.equal(parameter, held[name]) for name, parameter in inside(encoder))


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_float32_arithmetic_with_the_weights_as_stored(family: str, three_bits: Any, wide: Any) -> None:
    encoder = three_bits(family)
    stored = iter(parts(encoder, HqqLinear))

    def write_out(linear: nn.Linear) -> nn.Module:
        linear.weight.data = next(stored).matrix()
        return linear

    assert (states(encoder) - states(rebuilt(wide(family), write_out))).abs().max() < 1e-5
    check_canaries(encoder)


@pytest.mark.parametrize("family", FAMILIES)
def test_neighbours_do_not_matter(family: str, three_bits: Any) -> None:
    encoder = three_bits(family)
    assert (states(encoder) - alone(encoder)).abs().max() < 1e-5


@pytest.mark.parametrize("family", ["esm2", "esmc"])
def test_more_bits_are_more_like_float32(family: str, wide: Any) -> None:
    exact = states(load(wide(family), FIELDS))
    found = [
        likeness(states(load(wide(family), FIELDS | {"quantization": f"hqq:{bits}"})), exact) for bits in (2, 3, 4, 8)
    ]
    assert found == sorted(found) and found[0] < 0.9 and found[-1] > 0.9998


def test_half_precision_is_that_of_the_recipe(wide: Any) -> None:
    """The codes are those of the rounded weights, and the rounding of products comes on top, as without hqq."""
    encoder = load(wide("esm2"), FIELDS | {"quantization": "hqq:8", "dtype": "bfloat16"})
    assert {part.matrix().dtype for part in parts(encoder, HqqLinear)} == {torch.bfloat16}
    given = ({}, {"dtype": "bfloat16"}, {"quantization": "hqq:8"})
    exact, rounded, quantised = (states(load(wide("esm2"), FIELDS | fields)) for fields in given)
    apart = 2 - likeness(rounded, exact) - likeness(quantised, exact)
    assert 0 < apart < 2e-4 and 1 - likeness(states(encoder), exact) < 1.25 * apart
