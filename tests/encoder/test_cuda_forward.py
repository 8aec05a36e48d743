"""Whole forward passes on a GPU that has no numbers: shapes, dtypes, devices, and what would wait for the device."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, unset_fake_temporarily

from protea_ray.config.run import RunOptions
from protea_ray.encoder import attention
from protea_ray.encoder.attention import choose
from protea_ray.encoder.batch import PendingPack, Window
from protea_ray.encoder.encoder import Encoder
from protea_ray.encoder.forward import Core, Pack
from protea_ray.errors import EncoderError
from protea_ray.models.families import loading
from protea_ray.testing.random_checkpoint import FAMILIES
from tests.encoder.conftest import load, proteins
from tests.encoder.fake_cuda import DEVICE, FREE, FakeGpu, out_of_order

KERNELS = [name for name in get_args(RunOptions.model_fields["kernel"].annotation) if name != "auto"]
DTYPES = ("float32", "bfloat16", "float16")
BIASED = ("t5", "prostt5", "ankh")
LENGTHS = (30, 200, 5)
LAYERS = 3
BY_WINDOW = ("sdpa", "toeplitz")  # each layer asks the device for the row boundaries and waits for the answer


def offered(family: str, dtype: str) -> list[str]:
    """The kernels that the chooser lets run on a GPU; heads of the tests' checkpoints are 8 wide or 16."""
    found = []
    for kernel in KERNELS:
        try:
            found.append(choose(DEVICE, dtype, family in BIASED, kernel, 8).name)
        except EncoderError:
            continue
    return found


CASES = [(family, dtype, kernel) for family in FAMILIES for dtype in DTYPES for kernel in offered(family, dtype)]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The opaque operations run what they hide, on fake tensors; holds every read of row boundaries by the host."""
    asked: list[Tensor] = []
    boundaries: list[int] = []
    packed = Core.pack

    def pack(core: Core, windows: Any) -> Pack:
        made = packed(core, windows)
        boundaries[:] = made.rows.tolist()
        return made

    def tolist(values: Tensor) -> list[int]:
        asked.append(values)
        return boundaries

    monkeypatch.setattr(Core, "pack", pack)
    monkeypatch.setattr(FakeTensor, "tolist", tolist)
    for op in (attention.varlen, attention.biased):
        monkeypatch.setattr(torch.ops.protea, op._name, op._init_fn, raising=False)
    return asked


def loaded(gpu: FakeGpu, directory: Path, *recipes: dict[str, Any], **options: Any) -> Encoder:
    with gpu.mode:
        return load(directory, *recipes, device="cuda:0", compiled="off", **options)


def queued(gpu: FakeGpu, run: Encoder) -> PendingPack:
    """One pack of all LENGTHS, queued as the encoder does it."""
    windows: list[Window] = []
    with gpu.mode, gpu.log:
        for index, sequence in enumerate(proteins(*LENGTHS)):
            assert list(run._plan(index, sequence, windows)) == []
        return run._run(windows)


@pytest.mark.parametrize(("family", "dtype", "kernel"), CASES)
def test_every_state_is_on_the_gpu_in_the_dtype_of_the_recipe(
    family: str, dtype: str, kernel: str, gpu: FakeGpu, checkpoint: Any
) -> None:
    """torch refuses operations on tensors of two devices, so a pass that ends had none."""
    run = loaded(gpu, checkpoint(family), {"dtype": dtype}, kernel=kernel)
    assert {p.device for p in run.module.parameters()} == {DEVICE}
    assert run.attention.name == kernel
    with gpu.mode, gpu.log, torch.inference_mode():
        windows = [run.alphabet.window(run.alphabet.residues(sequence)) for sequence in proteins(*LENGTHS)]
        pack = run.core.pack(windows)
        states = list(run.core.states(pack, frozenset(range(LAYERS + 1))))
    assert {x.device for x in (pack.ids, pack.positions, pack.cu_seqlens)} == {DEVICE}
    assert [index for index, _ in states] == [0, 1, 2, 3]
    for _, state in states:
        assert (state.shape, state.device) == ((pack.tokens, run.shape.hidden), DEVICE)
    asked = getattr(torch, dtype)
    between = torch.float32 if family in BIASED and dtype == "float16" else asked  # transformers keeps T5's `wo` there
    assert [state.dtype for _, state in states] == [asked, between, between, asked]
    assert (gpu.log.mixed, gpu.log.waits) == ([], [])


@pytest.mark.parametrize(("family", "dtype", "kernel"), CASES)
def test_what_a_kernel_hides_stays_on_the_gpu_and_who_waits_is_known(
    family: str, dtype: str, kernel: str, gpu: FakeGpu, checkpoint: Any, reads: list[Tensor]
) -> None:
    """Kernels for single windows ask for the row boundaries in every layer; those for a whole pack never do."""
    run = loaded(gpu, checkpoint(family), {"dtype": dtype, "attention": "local:40"}, kernel=kernel)
    pending = queued(gpu, run)
    assert pending.results[0].sums["total"].shape == (len(LENGTHS), run.shape.hidden)
    assert (gpu.log.mixed, gpu.log.waits) == ([], [])
    assert len(reads) == (LAYERS if kernel in BY_WINDOW else 0)
    assert {(x.device, x.dtype) for x in reads} <= {(DEVICE, torch.int32)}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_of_its_own_choices_never_waits_before_its_results(
    family: str, dtype: str, gpu: FakeGpu, checkpoint: Any, reads: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every pooling, layers, residues and logits at once: copies do not wait, and nothing overtakes anything."""
    monkeypatch.setattr(loading, "read_tensors", fake_reading(gpu))
    poolings = ("none", "mean", "max", "std", "mean_max") + (() if family in BIASED else ("cls",))
    fields: dict[str, Any] = {"dtype": dtype, "pooling": poolings, "layers": (0, 2), "layer_agg": "concat"}
    recipes = [fields, {"dtype": dtype, "store_dtype": "float16", "normalize_residues": True, "layers": (1, 0)}]
    if family not in BIASED:
        recipes.append({"dtype": dtype, "outputs": ("embeddings", "logits")})
    run = loaded(gpu, checkpoint(family), *recipes)
    assert run.token_budget % 1024 == 0
    assert run.token_budget <= FREE
    pending = queued(gpu, run)
    assert reads == []
    assert (gpu.log.mixed, gpu.log.waits) == ([], [])
    pending.transfer.wait()
    assert out_of_order(gpu.log) == []
    width, tokens = 2 * run.shape.hidden, sum(LENGTHS) + len(LENGTHS) * (1 if family in ("t5", "ankh") else 2)
    first = pending.results[0]
    assert {name: tuple(x.shape) for name, x in first.sums.items()} == dict.fromkeys(
        ("total", "peak", "spread"), (3, width)
    )
    assert tuple(first.kept["rows"].shape) == (tokens, width)
    hosts = [x for one in pending.results for x in (*one.sums.values(), *one.kept.values(), one.finite)]
    assert {x.device.type for x in hosts} == {"cpu"}
    assert all(x.untyped_storage()._cdata in gpu.log.pinned for x in hosts)
    if family not in BIASED:
        assert first.cls is not None
        assert tuple(first.cls.shape) == (3, width)
        assert tuple(pending.results[2].kept["logits"].shape) == (tokens, run.shape.vocabulary)


def fake_reading(gpu: FakeGpu) -> Any:
    """`loading.read_tensors` with fake tensors; those of a file would be real."""
    read = loading.read_tensors

    def reading(*given: Any) -> dict[str, Tensor]:
        with unset_fake_temporarily():
            return {name: gpu.mode.from_tensor(values) for name, values in read(*given).items()}

    return reading


def test_a_device_without_a_gpu_is_refused(checkpoint: Any) -> None:
    with pytest.raises(EncoderError, match="sees no GPU; use cpu"):
        load(checkpoint("esm2"), {}, device="cuda:0")
