"""The attention kernels against attention written out with a dense mask, and the choice between them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from protea_ray.config.attention_forms import AttentionVariant
from protea_ray.encoder import attention, flex
from protea_ray.encoder.attention import attend, choose, toeplitz
from protea_ray.errors import EncoderError

HEADS, WIDTH, REACH = 2, 8, 16
ROWS = np.array([0, 1, 40, 47, 300])


def inputs(rows=ROWS, seed=0):
    draw = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(1, HEADS, int(rows[-1]), WIDTH, generator=draw) for _ in range(3))
    return q, k, v, torch.randn(HEADS, 2 * REACH + 1, generator=draw)


def dense(q, k, v, table, rows, window, scale):
    """Every pair written out: (1, T, H, d), the explicit weights and what may be seen."""
    place = torch.arange(int(rows[-1]))
    protein = torch.from_numpy(np.repeat(np.arange(len(rows) - 1), np.diff(rows)))
    distance = place[None] - place[:, None]
    seen = protein[None] == protein[:, None]
    seen &= (distance.abs() <= window) if window >= 0 else True
    scores = q @ k.transpose(2, 3) * scale
    if table is not None:
        scores = scores + table[:, distance.clamp(-REACH, REACH) + REACH]
    weights = scores.masked_fill(~seen, float("-inf")).softmax(-1)
    return (weights @ v).transpose(1, 2), weights, seen


def run(q, k, v, table, rows, window, kernel, **extra):
    cu = torch.from_numpy(rows.astype(np.int32))
    mask = flex.block_mask(rows, window, torch.device("cpu")) if kernel == "flex" else None
    out, _ = attend(
        None, q, k, v, scaling=0.3, position_bias=table, cu_seqlens=cu, max_len=int(np.diff(rows).max()),
        variant=AttentionVariant("local", (window,)) if window >= 0 else AttentionVariant("exact"),
        kernel=kernel, block_mask=mask, **extra,
    )  # fmt: skip
    return out


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning")
@pytest.mark.parametrize("window", [-1, 1, 5, 64, 5000])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("kernel", ["exact", "flex"])
def test_each_kernel_equals_dense_attention(kernel, biased, window):
    q, k, v, table = inputs()
    table = table if biased else None
    name = kernel if kernel == "flex" else ("toeplitz" if biased else "sdpa")
    out = run(q, k, v, table, ROWS, window, name)
    expected, _, _ = dense(q, k, v, table, ROWS, window, 0.3)
    assert (out - expected).abs().max() < 1e-5


@pytest.mark.parametrize("biased", [False, True])
def test_local_attention_of_a_window_longer_than_one_block_of_queries(biased):
    rows = np.array([0, 1300])
    q, k, v, table = inputs(rows)
    table = table if biased else None
    expected, _, _ = dense(q, k, v, table, rows, 100, 0.3)
    assert (run(q, k, v, table, rows, 100, "sdpa") - expected).abs().max() < 1e-5


def test_the_toeplitz_view_is_the_bias_of_flipped_queries_and_holds_one_line_of_numbers():
    table = inputs()[3]
    view = toeplitz(table, 500)
    distance = torch.arange(500)[None] - torch.arange(500)[:, None]
    assert torch.equal(view[0].flip(1), table[:, distance.clamp(-REACH, REACH) + REACH])
    assert view.untyped_storage().nbytes() == HEADS * 999 * 4


@pytest.mark.parametrize("window", [-1, 3])
@pytest.mark.parametrize("biased", [False, True])
def test_recorded_weights_are_those_of_dense_attention(biased, window):
    rows = np.array([0, 60])
    q, k, v, table = inputs(rows)
    table = table if biased else None
    kept = []
    out = run(q, k, v, table, rows, window, "sdpa", record=kept.append)
    expected, weights, _ = dense(q, k, v, table, rows, window, 0.3)
    assert (out - expected).abs().max() < 1e-5
    assert (kept[0] - weights[0]).abs().max() < 1e-6


@settings(max_examples=40, deadline=None)
@given(lengths=st.lists(st.integers(1, 400), min_size=1, max_size=8), window=st.integers(-1, 300))
def test_the_block_mask_equals_the_one_from_every_pair(lengths, window):
    require_the_mask_of_every_pair(lengths, window)


@pytest.mark.parametrize("window", [-1, 0, 1, 2, 126, 127, 128, 129, 255, 256])
@pytest.mark.parametrize(
    "lengths", [(129,), (1, 128), (128, 1), (127, 2, 127), (257, 3), (2, 255, 128), (1, 384), (640,)]
)
def test_proteins_that_begin_or_end_at_the_edge_of_a_block(lengths, window):
    """Where one residue of a protein lies in a block, or a window reaches just one key of the next."""
    require_the_mask_of_every_pair(lengths, window)


def require_the_mask_of_every_pair(lengths, window):
    rows = np.concatenate([[0], np.cumsum(lengths)])
    q, k, v, _ = inputs(rows)
    seen = dense(q, k, v, None, rows, window, 1.0)[2].numpy()
    side = -(-len(seen) // flex.BLOCK)
    padded = np.zeros((side * flex.BLOCK,) * 2, bool)
    padded[: len(seen), : len(seen)] = seen
    blocks = padded.reshape(side, flex.BLOCK, side, flex.BLOCK).transpose(0, 2, 1, 3)
    mask = flex.block_mask(rows, window, torch.device("cpu"))
    partial, full = (listed(mask.kv_num_blocks, mask.kv_indices), listed(mask.full_kv_num_blocks, mask.full_kv_indices))
    assert not (partial & full).any()
    assert np.array_equal(blocks.any((2, 3)), partial | full)  # no visible pair is skipped, and no other block is read
    inside = padded[: len(seen), : len(seen)]
    for i, j in zip(*np.nonzero(full), strict=True):  # the kernel asks no further in a full block
        rectangle = inside[i * flex.BLOCK : (i + 1) * flex.BLOCK, j * flex.BLOCK : (j + 1) * flex.BLOCK]
        assert rectangle.all() and rectangle.shape[1] == flex.BLOCK


def listed(counts, indices):
    counts, indices = counts[0, 0].numpy(), indices[0, 0].numpy()
    out = np.zeros(indices.shape, bool)
    for row, count in enumerate(counts):
        out[row, indices[row, :count]] = True
    return out


@pytest.mark.parametrize("length", [512, 513, 1100])
def test_on_cuda_the_bias_is_written_out_for_a_block_of_queries_at_a_time(length, monkeypatch):
    """CUDA's kernels would copy the strided view to (heads, L, L): 3.2 GB for a protein of 8,192 residues."""

    class OnCuda(torch.Tensor):
        is_cuda = True

    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 2, length, 8) for _ in range(3))
    table = torch.randn(2, 41)
    distance = (torch.arange(length) - torch.arange(length)[:, None]).clamp(-20, 20) + 20
    weights = (q @ k.transpose(2, 3) * 0.5 + table[:, distance]).softmax(-1)
    sizes, real = [], torch.nn.functional.scaled_dot_product_attention

    def recorded(q, k, v, *, attn_mask, scale):
        sizes.append(attn_mask.shape[-2])
        return real(*(x.as_subclass(torch.Tensor) for x in (q, k, v)), attn_mask=attn_mask, scale=scale)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", recorded)
    out = attention._window_attention(q.as_subclass(OnCuda), k, v, table, -1, 0.5)
    torch.testing.assert_close(out.as_subclass(torch.Tensor), weights @ v, atol=1e-5, rtol=0)
    assert sum(sizes) == length
    assert max(sizes) == min(length, 512)


@pytest.mark.parametrize(
    ("device", "dtype", "bias", "name"),
    [
        ("cpu", "float32", False, "sdpa"),
        ("cpu", torch.bfloat16, False, "sdpa"),
        ("cpu", "float32", True, "toeplitz"),
        ("cuda", "float32", False, "sdpa"),
        ("cuda:1", torch.float16, False, "varlen"),
        (torch.device("cuda"), "bfloat16", False, "varlen"),
        ("cuda", "bfloat16", True, "flex"),
        ("cuda", "float32", True, "toeplitz"),
    ],
)
def test_one_place_chooses_and_says_why(device, dtype, bias, name):
    choice = choose(device, dtype, bias)
    assert choice.name == name
    assert choice.why


def test_a_head_width_that_the_flash_kernel_cannot_take():
    assert choose("cuda", "float16", False, head_dim=20).name == "sdpa"


def test_a_forced_kernel_runs_or_is_refused_with_those_that_can():
    assert choose("cpu", "float32", False, asked="flex").name == "flex"
    with pytest.raises(EncoderError, match="'varlen' cannot run on cpu in float32 with no bias; use sdpa, flex"):
        choose("cpu", "float32", False, asked="varlen")
    with pytest.raises(EncoderError, match="with a relative bias; use flex, toeplitz"):
        choose("cuda", "bfloat16", True, asked="varlen")


def test_a_plain_call_of_the_loaded_module_is_refused(encoder):
    run = encoder("esm2", {})
    with pytest.raises(EncoderError, match="loaded for packed proteins"):
        run.module(input_ids=torch.tensor([[0, 5, 2]]))


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning")
@pytest.mark.parametrize("family", ["esm2", "esmc", "ankh"])
def test_a_forced_kernel_gives_the_same_vectors(family, encoder):
    from tests.encoder.conftest import proteins

    sequences = proteins(3, 90, 200)
    expected = {r.index: r.pooled["mean"] for r in encoder(family, {}).embed(sequences)}
    run = encoder(family, {}, kernel="flex")
    assert run.attention.name == "flex"
    for result in run.embed(sequences):
        assert np.abs(result.pooled["mean"] - expected[result.index]).max() < 1e-5


@pytest.mark.parametrize("family", ["esm2", "ankh"])
def test_local_attention_is_another_space_and_equals_exact_attention_when_wide(family, encoder):
    from tests.encoder.conftest import proteins

    sequences = proteins(300)
    exact, wide, narrow = (
        next(encoder(family, {"attention": attention}).embed(sequences)).pooled["mean"]
        for attention in ("exact", "local:400", "local:8")
    )
    assert np.abs(exact - wide).max() < 1e-5
    assert np.abs(exact - narrow).max() > 1e-3


def test_the_ops_trace_without_graph_breaks():
    q, k, v, table = inputs()
    packed = [x[0].transpose(0, 1).contiguous() for x in (q, k, v)]
    cu = torch.from_numpy(ROWS.astype(np.int32))
    torch.library.opcheck(torch.ops.protea.varlen, (*packed, cu, 253, -1, 0.3, False))
    torch.library.opcheck(torch.ops.protea.biased, (*packed, table, cu, 5, 0.3))


@pytest.mark.parametrize("family", ["esm2", "ankh"])
def test_layers_compile_whole_and_no_pack_recompiles_them(family, encoder):
    """One graph for all layers and all packs, without a break: what `torch.compile` on a GPU will need."""
    from torch._dynamo.utils import counters

    from tests.encoder.conftest import proteins

    sequences = proteins(3, 90, 200, 7, 130, 45, 61)
    expected = {r.index: r.pooled["mean"] for r in encoder(family, {}).embed(sequences)}
    torch._dynamo.reset()
    counters.clear()
    run = encoder(family, {}, token_budget=210)
    for layer in run.core.stack.layers:
        layer.compile(backend="eager", fullgraph=True, dynamic=True)
    for result in run.embed(sequences):
        assert np.abs(result.pooled["mean"] - expected[result.index]).max() < 1e-5
    assert run.stats.forward_passes > 2
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]
