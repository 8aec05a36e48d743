"""Each variant of attention against its textbook form: full matrices, dense masks and loops, one protein at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from protea_ray.config.attention_forms import attention_variant
from protea_ray.encoder.variants import attend_variant
from protea_ray.encoder.variants.favor import favor_attention, random_features
from protea_ray.encoder.variants.nystrom import pseudo_inverse, segment_means, through_landmarks
from protea_ray.encoder.variants.sparse import bigbird_attention, global_attention, key_blocks

HEADS, WIDTH, WINDOW, SCALE = 2, 8, 20, 0.3
LENGTHS = sorted({1, 2, 3, 5, WINDOW, WINDOW + 1, 2 * WINDOW + 1, 63, 64, 65, 127, 128, 129, 130, 300, 700})


def inputs(length: int, seed: int = 0, spread: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(1, HEADS, length, WIDTH, generator=draw) for _ in range(3))
    return q * spread, k * spread, v


def masked(q: Tensor, k: Tensor, v: Tensor, seen: Tensor, scale: float = SCALE) -> Tensor:
    """Every pair written out, in float64; `seen` (L, L) says which count."""
    q, k, v = q.double(), k.double(), v.double()
    return ((q @ k.transpose(2, 3) * scale).masked_fill(~seen, float("-inf")).softmax(-1) @ v).float()


def exact(q: Tensor, k: Tensor, v: Tensor, scale: float = SCALE) -> Tensor:
    return masked(q, k, v, torch.ones(q.shape[2], q.shape[2], dtype=torch.bool), scale)


def pairs(length: int) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(length)[:, None], np.arange(length)[None]


def seen_globally(length: int, window: int) -> Tensor:
    i, j = pairs(length)
    ends = (0, length - 1)
    return torch.from_numpy((abs(i - j) <= window) | np.isin(i, ends) | np.isin(j, ends))


def seen_by_blocks(length: int, block: int, near: int, ends: int, random: int, seed: int) -> Tensor:
    """The mask of BigBird from the definition; which blocks are random is the function's, how many is not."""
    count = -(-length // block)
    a, b = pairs(count)
    at_end = (np.minimum(a, count - 1 - a) < ends) | (np.minimum(b, count - 1 - b) < ends)
    blocks = at_end | ((b - a >= -((near - 1) // 2)) & (b - a <= near // 2))
    for number, keys in enumerate(key_blocks(count, near, ends, random, seed)):
        drawn = set(keys) - set(np.flatnonzero(blocks[number]))
        assert len(drawn) == min(random, count - blocks[number].sum())
        blocks[number, list(drawn)] = True
    i, j = pairs(length)
    return torch.from_numpy(blocks[i // block, j // block])


def textbook_nystrom(q: Tensor, k: Tensor, v: Tensor, landmarks: int, scale: float = SCALE) -> Tensor:
    """Four softmax matrices in full, float64, the pseudo-inverse by the published iteration, one head at a time."""
    out = []
    for a, b, c in zip(q[0].double(), k[0].double(), v[0].double(), strict=True):
        few = [torch.stack([x[list(s)].mean(0) for s in np.array_split(np.arange(len(x)), landmarks)]) for x in (a, b)]
        first, middle, last = ((x @ y.T * scale).softmax(-1) for x, y in ((a, few[1]), (few[0], few[1]), (few[0], b)))
        z = middle.T / (middle.sum(0).max() * middle.sum(1).max())
        one = torch.eye(landmarks, dtype=torch.float64)
        for _ in range(6):
            z = z @ (13 * one - middle @ z @ (15 * one - middle @ z @ (7 * one - middle @ z))) / 4
        out.append(first @ z @ last @ c)
    return torch.stack(out)[None].float()


def textbook_favor(q: Tensor, k: Tensor, v: Tensor, features: int, layer: int, scale: float = SCALE) -> Tensor:
    """Features as they are defined, in float64: weights (L, L) as products of features, then rows divided by sums."""
    rows = torch.from_numpy(random_features(features, WIDTH, 3, layer)).double()
    out = []
    for a, b, c in zip(q[0].double(), k[0].double(), v[0].double(), strict=True):
        a, b = a * scale * WIDTH**0.25, b / WIDTH**0.25
        phi_q, phi_k = (torch.exp(x @ rows.T - x.square().sum(1, keepdim=True) / 2) for x in (a, b))
        weights = phi_q @ phi_k.T
        out.append(weights / weights.sum(1, keepdim=True) @ c)
    return torch.stack(out)[None].float()


CASES: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "global": (
        lambda q, k, v: global_attention(q, k, v, SCALE, WINDOW),
        lambda q, k, v: masked(q, k, v, seen_globally(q.shape[2], WINDOW)),
    ),
    "bigbird": (
        lambda q, k, v: bigbird_attention(q, k, v, SCALE, 16, 3, 1, 2, 5),
        lambda q, k, v: masked(q, k, v, seen_by_blocks(q.shape[2], 16, 3, 1, 2, 5)),
    ),
    "bigbird, even and without ends": (
        lambda q, k, v: bigbird_attention(q, k, v, SCALE, 7, 2, 0, 1, 0),
        lambda q, k, v: masked(q, k, v, seen_by_blocks(q.shape[2], 7, 2, 0, 1, 0)),
    ),
    "nystrom": (
        lambda q, k, v: through_landmarks(q, k, v, SCALE, min(16, q.shape[2])),
        lambda q, k, v: textbook_nystrom(q, k, v, min(16, q.shape[2])),
    ),
    "favor": (
        lambda q, k, v: favor_attention(q, k, v, SCALE, 50, 3, layer=2),
        lambda q, k, v: textbook_favor(q, k, v, 50, layer=2),
    ),
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", CASES)
def test_each_equals_its_textbook_form(name: str, length: int) -> None:
    function, reference = CASES[name]
    q, k, v = inputs(length)
    assert (function(q, k, v) - reference(q, k, v)).abs().max() < 1e-5


@pytest.mark.parametrize("length", [1, 5, 41, 130])
@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_the_textbook_form(name: str, length: int) -> None:
    function, reference = CASES[name]
    weights = torch.randn(1, HEADS, length, WIDTH, generator=torch.Generator().manual_seed(1))
    found = []
    for compute in (function, reference):
        leaves = [x.requires_grad_() for x in inputs(length)]
        (compute(*leaves) * weights).sum().backward()
        found.append([leaf.grad for leaf in leaves])
    for ours, theirs in zip(*found, strict=True):
        assert ours is not None and theirs is not None
        assert (ours - theirs).abs().max() < 1e-5 * max(1.0, float(theirs.abs().max()))


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("form", ["global:698", "bigbird:16,99,0,0,0", "bigbird:16,1,0,99,4", "bigbird:16,1,99,0,0"])
def test_full_width_is_exact(form: str, length: int) -> None:
    q, k, v = inputs(length)
    assert (attend_variant(attention_variant(form), None, 1, q, k, v, SCALE) - exact(q, k, v)).abs().max() < 1e-5


def test_residues_far_apart_do_not_see_each_other_but_special_tokens_are_seen() -> None:
    q, k, v = inputs(700)
    moved = v.clone()
    moved[:, :, 300] += 1
    change = (
        (global_attention(q, k, moved, SCALE, WINDOW) - global_attention(q, k, v, SCALE, WINDOW)).abs().amax((0, 1, 3))
    )
    assert set(change.nonzero()[:, 0].tolist()) == {0, *range(280, 321), 699}


# BigBird's blocks


@pytest.mark.parametrize(("count", "near", "ends", "random"), [(1, 3, 1, 3), (2, 3, 1, 3), (9, 3, 1, 2), (40, 4, 2, 3)])
def test_random_blocks_are_others_and_as_many_as_asked(count: int, near: int, ends: int, random: int) -> None:
    drawn, plain = key_blocks(count, near, ends, random, 7), key_blocks(count, near, ends, 0, 7)
    for some, none in zip(drawn, plain, strict=True):
        assert len(set(some)) == len(some) and set(none) <= set(some) <= set(range(count))
        assert len(some) - len(none) == min(random, count - len(none))


def test_random_blocks_follow_the_seed_and_the_number_of_blocks() -> None:
    one = key_blocks(40, 3, 1, 3, 7)
    key_blocks.cache_clear()
    assert key_blocks(40, 3, 1, 3, 7) == one != key_blocks(40, 3, 1, 3, 8)
    first = [set(row) - set(plain) for row, plain in zip(one, key_blocks(40, 3, 1, 0, 7), strict=True)]
    assert len({tuple(sorted(row)) for row in first}) > 30  # not the same blocks for all queries


# Nystrom


@pytest.mark.parametrize("length", [1, 2, 5, 63, 130])
def test_as_many_landmarks_as_tokens_is_exact(length: int) -> None:
    """Without the shortcut. Each query is nearest to its own key, so no singular value is small, and six steps do."""
    q, _, v = inputs(length)
    q = 7 * q / q.norm(dim=3, keepdim=True)
    out = exact(q, q, v, 1.0)
    assert (through_landmarks(q, q, v, 1.0, length) - out).abs().max() < 1e-5
    assert length < 63 or (out - v).abs().max() > 0.03  # and is not just the value at hand


def test_more_steps_make_any_matrix_exact_at_full_rank() -> None:
    q, k, v = (x.double() for x in inputs(20, spread=2.0))
    errors = [
        float((through_landmarks(q, k, v, SCALE, 20, steps) - exact(q, k, v)).abs().max()) for steps in (2, 6, 40)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-5


def test_up_to_four_tokens_a_landmark_attention_is_exact_and_past_it_is_not() -> None:
    variant = attention_variant("nystrom:16")
    for length, is_exact in ((64, True), (65, False)):
        q, k, v = inputs(length)
        error = (attend_variant(variant, None, 1, q, k, v, SCALE) - exact(q, k, v)).abs().max()
        assert (error < 1e-5) == is_exact


def test_the_iteration_finds_the_pseudo_inverse_of_numpy() -> None:
    a = torch.eye(12, dtype=torch.float64) + torch.rand(3, 12, 12, generator=torch.Generator().manual_seed(0)) / 12
    assert np.abs(pseudo_inverse(a).numpy() - np.linalg.pinv(a.numpy())).max() < 1e-6


@pytest.mark.parametrize(("length", "count"), [(5, 5), (7, 3), (64, 16), (65, 16), (127, 16)])
def test_segments_share_the_rows(length: int, count: int) -> None:
    x = inputs(length)[0]
    expected = np.stack([part.mean(2) for part in np.array_split(x.numpy(), count, axis=2)], 2)
    assert np.abs(segment_means(x, count).numpy() - expected).max() < 1e-6


# FAVOR+


def test_the_error_falls_with_the_root_of_the_number_of_features() -> None:
    q, k, v = inputs(130, spread=0.5)
    mean: dict[int, float] = {}
    for features in (64, 4096):
        found = [favor_attention(q, k, v, SCALE, features, seed, layer=1) for seed in range(8)]
        mean[features] = float(np.mean([float((out - exact(q, k, v)).square().mean()) for out in found]) ** 0.5)
    assert 5 < mean[64] / mean[4096] < 13  # theory: the root of 64


def test_features_are_normal_orthogonal_and_drawn_by_seed_layer_and_width() -> None:
    rows = random_features(4096, 8, 0, 1).astype(np.float64)
    assert np.abs(rows.T @ rows / 4096 - np.eye(8)).max() < 0.1  # covariance of a normal draw
    assert abs((rows**2).sum(1).mean() - 8) < 0.2
    block = rows[:8] / np.linalg.norm(rows[:8], axis=1, keepdims=True)
    assert np.abs(block @ block.T - np.eye(8)).max() < 1e-6
    others = [random_features(64, 8, 1, 1), random_features(64, 8, 0, 2), random_features(64, 16, 0, 1)[:, :8]]
    assert all(np.abs(random_features(64, 8, 0, 1) - other).max() > 0.1 for other in others)
    assert np.array_equal(random_features(20, 8, 0, 1), random_features(20, 8, 0, 1))


def test_inputs_of_any_size_give_finite_outputs() -> None:
    """Features as they are defined overflow here: exp of 3,000 and of -3,000."""
    q, k, v = inputs(130, spread=40.0)
    out = favor_attention(q, k, v, 1.0, 64, 0, layer=1)
    assert out.isfinite().all()
    assert out.abs().max() <= v.abs().max() + 1e-4  # weights are shares
