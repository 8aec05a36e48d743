"""What a run does otherwise because it is on a GPU: what it asks of Ray, what a worker says, when it must end.

No Ray and no GPU: what would be asked of them is written down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from protea_ray.cli import doctor
from protea_ray.cluster.progress import LineReporter
from protea_ray.cluster.ray_metrics import Recorder
from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.config.run import RunConfig, RunOptions
from protea_ray.encoder.encoder import Encoder
from protea_ray.errors import ConfigError, EncoderError
from protea_ray.models.checkpoint import open_checkpoint
from protea_ray.pipeline import acceptance, calibration, embed, pool, worker
from protea_ray.pipeline.attempts import Attempt
from protea_ray.pipeline.loop import Tally
from protea_ray.pipeline.stages import Stages
from protea_ray.pipeline.worker import EmbedUnits, EncoderSpec, Protein

SPEC = EncoderSpec("a model", None, Path("nowhere"), "here", {}, "esm2", "cpu", None)
BROKEN = "CUDA error: an illegal memory access was encountered"


@dataclass
class AskedError(Exception):
    """What was asked for; nothing happens after it."""

    options: Any


def ask(function: Any, **options: Any) -> Any:
    """In place of `pool.remote`."""
    raise AskedError(options)


# what is asked of Ray


@pytest.mark.parametrize(
    ("gpus", "resources"), [(1.0, {"num_cpus": 0, "num_gpus": 1.0}), (0.0, {"num_cpus": 1, "num_gpus": 0.0})]
)
def test_a_calibration_runs_where_the_actors_will(
    gpus: float, resources: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "_place", lambda *_: Path("nowhere"))
    monkeypatch.setattr(calibration, "remote", ask)
    with pytest.raises(AskedError) as caught:
        calibration.calibrate(SPEC, SimpleNamespace(model="m"), [], gpus, LineReporter())  # type: ignore[arg-type]
    assert caught.value.options == resources | {"max_retries": 1}


@pytest.mark.parametrize(
    ("device", "resources"), [("cuda", {"num_cpus": 0, "num_gpus": 1.0}), ("cpu", {"num_cpus": 1, "num_gpus": 0.0})]
)
def test_proteins_are_recomputed_where_they_were_computed(
    device: str, resources: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptance, "verify_digests", lambda *_: None)
    monkeypatch.setattr(acceptance, "remote", ask)
    setting: Any = SimpleNamespace(device=device, checkpoint=SimpleNamespace(path=None, files=None, adapter=None))
    with pytest.raises(AskedError) as caught:
        acceptance._recompute(setting, None)  # type: ignore[arg-type]
    assert caught.value.options == resources | {"max_retries": 1}


@pytest.mark.parametrize(("device", "gpus"), [("cuda", 1.0), ("cpu", 0.0)])
def test_a_run_calibrates_on_its_device(device: str, gpus: float, monkeypatch: pytest.MonkeyPatch) -> None:
    def calibrate(spec: Any, checkpoint: Any, recipes: Any, asked: float, report: Any) -> Any:
        raise AskedError(asked)

    monkeypatch.setattr(embed, "calibrate", calibrate)
    setting: Any = SimpleNamespace(
        device=device,
        options=None,
        encoder=None,
        checkpoint=None,
        recipes=(),
        stages=Stages(),
        recorder=Recorder(run="r", family="esm2"),
    )
    nothing: Any = None
    with pytest.raises(AskedError) as caught:
        embed.embed_work(setting, SimpleNamespace(proteins=1, counts=()), [], nothing, nothing, Tally.of([]))  # type: ignore[arg-type]
    assert caught.value.options == gpus


@pytest.mark.parametrize(
    ("has", "asked", "device"),
    [(2, "cuda", "cuda"), (2, "auto", "cuda"), (2, "cpu", "cpu"), (0, "auto", "cpu"), (0, "cpu", "cpu")],
)
def test_the_device_of_a_run(has: int, asked: Any, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool.ray, "cluster_resources", lambda: {"CPU": 8.0} | ({"GPU": float(has)} if has else {}))
    assert pool.device_of(RunOptions(device=asked)) == device


# what is said of a device


def test_float16_is_refused_for_a_cpu_that_was_asked_for_and_for_nothing_else(esm2: Path) -> None:
    checkpoint = open_checkpoint(str(esm2))
    recipe = EmbeddingConfig.model_validate({"model": str(esm2), "dtype": "float16"})
    for device in ("auto", "cuda"):
        embed.require_fitting(RunConfig(recipes=(recipe,), run=RunOptions(device=device)), checkpoint)
    with pytest.raises(ConfigError, match="float16"):
        embed.require_fitting(RunConfig(recipes=(recipe,), run=RunOptions(device="cpu")), checkpoint)


def test_a_worker_names_its_gpu_or_its_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100 80GB HBM3")
    assert replace(SPEC, device="cuda").device_name == "NVIDIA H100 80GB HBM3"
    assert SPEC.device_name.endswith(" CPU")


@pytest.mark.parametrize(("device", "threads"), [("cpu", [1]), ("cuda", [])])
def test_an_actor_of_a_cpu_has_one_thread(
    device: str, threads: list[int], esm2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An actor of a GPU keeps torch's own number: it holds no CPU of Ray's, and loads weights with all there are."""
    found: list[int] = []
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(torch, "set_num_threads", found.append)
    monkeypatch.setattr(EncoderSpec, "_local_checkpoint", lambda spec: (esm2, None))
    monkeypatch.setattr(Encoder, "load", lambda *given, **options: asked.append(options))
    replace(SPEC, device=device).load([])
    assert found == threads
    assert [options["device"] for options in asked] == [device]


@pytest.mark.parametrize(("device", "half"), [("cpu", True), ("cuda", False)])
def test_bfloat16_is_recommended_for_a_processor_and_not_for_a_gpu(
    device: str, half: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = SimpleNamespace(name="a", why="b")
    encoder = SimpleNamespace(attention=choice, layers=choice, products=choice, token_budget=7)
    monkeypatch.setattr(EncoderSpec, "load", lambda spec, recipes: encoder)
    monkeypatch.setattr(EncoderSpec, "device_name", "a device")
    monkeypatch.setattr(calibration, "check_canaries", lambda *_: None)
    monkeypatch.setattr(calibration, "time_packs", lambda *_, **__: [])
    monkeypatch.setattr(calibration, "_computes_in_bfloat16", lambda: True)
    shape: Any = SimpleNamespace(fitted=lambda timings: None)
    recipe = EmbeddingConfig.model_validate({"model": "a model"})
    assert calibration._measure(replace(SPEC, device=device), [recipe], shape).half is half


@pytest.mark.parametrize(("has_gpu", "begins"), [(True, "NVIDIA H100, bfloat16: "), (False, " CPU, float32: sdpa")])
def test_the_doctor_looks_at_the_gpu_where_there_is_one(
    has_gpu: bool, begins: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100")
    value = doctor._attention().value
    assert begins in value
    assert ("products by joined (query, key and value are one product)" in value) == has_gpu


# a CUDA context that is broken


class Exited(BaseException):
    """In place of the end of the process."""


def units(monkeypatch: pytest.MonkeyPatch, error: Exception) -> tuple[EmbedUnits, list[Any]]:
    """A worker whose encoder raises `error`, and the exit codes of its process and the proteins it took in hand."""
    events: list[Any] = []

    def leave(code: int) -> None:
        events.append(code)
        raise Exited

    def fail(sequences: Sequence[str]) -> list[Any]:
        raise error

    monkeypatch.setattr(worker.os, "_exit", leave)
    made = EmbedUnits.__new__(EmbedUnits)
    made._targets = (None,)  # type: ignore[assignment]
    made._encoder = SimpleNamespace(embed=fail)  # type: ignore[assignment]
    made._log = SimpleNamespace(hold=lambda unit, key: events.append(key), put_down=lambda unit: None)  # type: ignore
    return made, events


PROTEINS = [Protein("p", b"k", "MK", "s", 1)]


@pytest.mark.parametrize(("careful", "expected"), [(False, [13]), (True, [b"k", 13])])
def test_a_worker_ends_after_a_cuda_error_so_that_ray_starts_another(
    careful: bool, expected: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All later calls in that process fail: it would reject every protein. One at a time, the culprit is known."""
    made, events = units(monkeypatch, RuntimeError(BROKEN))
    with pytest.raises(Exited):
        made._forward("u", PROTEINS, Attempt(1, careful, {}))
    assert events == expected


@pytest.mark.parametrize("error", [ValueError("no CUDA here"), RuntimeError("a CPU"), EncoderError(BROKEN)])
def test_a_worker_stays_after_any_other_error(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    made, events = units(monkeypatch, error)
    (found,) = made._forward("u", PROTEINS, Attempt(1, False, {}))
    assert (found.index, found.reason) == (0, "encoder_error")  # type: ignore[union-attr]
    assert events == [b"k"]
