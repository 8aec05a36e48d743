"""What only a GPU does in a training run, on a CPU: stand-ins for torch's GPU functions write down what is asked."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from protea_ray.config.training import TrainingOptions
from protea_ray.encoder import attention
from protea_ray.errors import ConfigError
from protea_ray.train import ray_workers, run_start, timing, train_here, validation_loss
from protea_ray.train.masked_model import MaskedModel
from protea_ray.train.shape import write_fresh
from protea_ray.train.step import Pending
from protea_ray.train.training_set import training_set
from tests.train.runs import newest, proteins, recipe, same, train


@pytest.mark.parametrize(
    ("asked", "has_gpu", "expected"),
    [
        ("auto", True, "cuda"),
        ("auto", False, "cpu"),
        ("cuda", True, "cuda"),
        ("cpu", True, "cpu"),
        ("cpu", False, "cpu"),
    ],
)
def test_a_run_takes_the_gpu_that_it_was_given(
    asked: Any, has_gpu: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)  # Ray's worker has chosen its own
    device = train_here.device_of(TrainingOptions(device=asked))
    assert device == torch.device("cuda", 1) if expected == "cuda" else device.type == "cpu"


def test_a_gpu_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="sees no GPU here"):
        train_here.device_of(TrainingOptions(device="cuda"))


class OnGpu(Tensor):
    """A tensor that says that it lies on a GPU."""

    is_cuda = True  # type: ignore[assignment]


def test_numbers_of_a_step_are_read_after_their_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy goes to pinned memory and does not wait; the event is recorded behind it and waited for before."""
    events: list[str] = []
    real = torch.empty

    def empty(*size: Any, pin_memory: bool = False, **more: Any) -> Tensor:
        events.append(f"pinned {pin_memory}")
        return real(*size, **more)

    class Event:
        def record(self) -> None:
            events.append("recorded")

        def synchronize(self) -> None:
            events.append("waited")

    monkeypatch.setattr(torch, "empty", empty)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    values = torch.tensor([6.0, 4.0, 5.0, 0.0, 0.25]).as_subclass(OnGpu)
    pending = Pending(values, 3, lambda pack: [])
    assert events == ["pinned True", "recorded"]
    result = pending.result()
    assert events[-1] == "waited"
    assert (result.loss, result.targets, result.gradient_norm, result.stop) == (2.0, 5, 0.25, False)


def test_reading_a_step_late_changes_no_weight_and_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU the numbers of a step are read while the next one runs, so that the device never waits for Python."""
    config = recipe(tmp_path)
    train(config, tmp_path / "at-once")
    real, read, launched = train_here._Run._take_steps, [], []
    at_boundary, launch, read_one = train_here._Run._at_boundary, train_here._Run._launch, train_here._Run._read

    def on_gpu(run: Any) -> Any:
        device, run.device = run.device, SimpleNamespace(type="cuda")
        monkeypatch.setattr(train_here._Run, "_at_boundary", lambda run, stop: at_device(run, stop, device))
        try:
            return real(run)
        finally:
            run.device = device

    def at_device(run: Any, stop: bool, device: Any) -> None:
        run.device = device
        at_boundary(run, stop)
        run.device = SimpleNamespace(type="cuda")

    def launch_noted(run: Any, *given: Any) -> Any:
        done = launch(run, *given)
        launched.append(done.state.step)
        return done

    def read_noted(run: Any, step: Any) -> bool:
        read.append((step.state.step, launched[-1]))
        return read_one(run, step)

    monkeypatch.setattr(train_here._Run, "_take_steps", on_gpu)
    monkeypatch.setattr(train_here._Run, "_launch", launch_noted)
    monkeypatch.setattr(train_here._Run, "_read", read_noted)
    train(config, tmp_path / "late")
    assert [step for step, _ in read] == list(range(1, 21))
    assert {ahead - step for step, ahead in read if step % 5} == {1}
    assert {ahead - step for step, ahead in read if step % 5 == 0} == {0}  # a validation reads everything before
    assert same(newest(tmp_path / "at-once"), newest(tmp_path / "late"))


@pytest.mark.parametrize(("device", "bytes_held"), [("cuda", 123), ("cpu", None)])
def test_the_memory_of_timed_packs_is_that_of_a_gpu(
    device: str, bytes_held: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, real = recipe(tmp_path), MaskedModel.load
    start = write_fresh(tmp_path / "start", str(config.shape), 0, config.crop)
    monkeypatch.setattr(MaskedModel, "load", lambda *given, **named: real(*given, **named | {"device": "cpu"}))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 123)
    rate = timing.measure_rate(training_set(proteins(), start, config), start, config, device)
    assert rate.peak_bytes == bytes_held
    assert rate.tokens_per_second > 0


def test_queries_and_keys_have_the_precision_of_values_on_a_gpu() -> None:
    """ESM-C norms queries and keys, which autocast leaves in float32: CUDA's kernels take one dtype."""
    torch.manual_seed(0)
    q, k = (torch.randn(7, 2, 8).as_subclass(OnGpu) for _ in range(2))
    v, seen = torch.randn(7, 2, 8).bfloat16(), []

    class Recorded(OnGpu):
        def to(self, dtype: Any) -> Any:  # type: ignore[override]
            seen.append(dtype)
            return torch.Tensor.to(self.as_subclass(Tensor), dtype)

    out = attention._attend_in_training(
        q.as_subclass(Recorded), k.as_subclass(Recorded), v, torch.tensor([0, 3, 7]), 4, -1, 0.3, False
    )
    assert seen[:2] == [torch.bfloat16, torch.bfloat16]
    assert out.shape == v.shape


@pytest.mark.parametrize(("backend", "expected"), [("nccl", "cuda"), ("gloo", "cpu")])
def test_what_ranks_agree_on_lies_where_their_backend_reads(
    backend: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices: list[str] = []
    made, to = torch.tensor, torch.Tensor.to
    monkeypatch.setattr(torch.distributed, "get_backend", lambda: backend)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda values: values.mul_(2))
    monkeypatch.setattr(torch, "tensor", lambda values, device: devices.append(device) or made(values))
    monkeypatch.setattr(torch.Tensor, "to", lambda values, device: devices.append(device) or to(values, "cpu"))
    assert run_start._any_rank(True) is True
    assert run_start._any_rank(False) is False
    assert validation_loss.summed(np.array([1.0, 2.0])).tolist() == [2.0, 4.0]
    assert devices == [expected] * 3


@pytest.mark.parametrize(
    ("asked", "gpus", "workers", "expected"),
    [
        ("auto", 2, None, (2, True, {"CPU": 1, "GPU": 1})), ("auto", 0, None, (1, False, {"CPU": 8})),
        ("cpu", 2, 2, (2, False, {"CPU": 4})), ("cuda", 2, 1, (1, True, {"CPU": 1, "GPU": 1})),
        ("cuda", 0, None, None), ("cuda", 1, 2, None),
    ],
)  # fmt: skip
def test_each_worker_asks_for_a_gpu_of_its_own(
    asked: Any, gpus: int, workers: int | None, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 8.0} | ({"GPU": float(gpus)} if gpus else {}))
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 8.0}}])
    options = TrainingOptions(device=asked, workers=workers)
    if expected is None:
        with pytest.raises(ConfigError, match="each worker takes one"):
            ray_workers._scaling(options)
        return
    scaling, on_gpu = ray_workers._scaling(options)
    assert (scaling.num_workers, on_gpu, scaling.resources_per_worker) == expected
    assert scaling.use_gpu is on_gpu
