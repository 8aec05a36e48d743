"""A training run on the workers of a Ray cluster (Ray Train): `train_here`, one rank a worker.

Ray starts the workers, sets up torch.distributed, notices a dead one and starts the group again, up to `max_failures`
times. It keeps no checkpoint of ours: the directories in OUT are the truth, and every start of the group, whoever asked
for it, reads the newest whole one there (docs/decisions/0012-training-resume.md). So OUT must be one directory on all
nodes, which is looked at before anything starts.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protea_ray.config.run import RunOptions
from protea_ray.config.training import TrainingConfig, TrainingOptions
from protea_ray.errors import ConfigError, ProteaRayError, TrainingError
from protea_ray.train.proteins import Proteins
from protea_ray.train.run_start import require_place
from protea_ray.train.stopping import STOP_FILE, stop_signals
from protea_ray.train.train_here import Report, TrainingSummary, train_here
from protea_ray.train.training_metrics import recorded

if TYPE_CHECKING:
    from ray.util.queue import Queue

PEER_SECONDS = 120  # that a rank waits for the others before it gives the group up
_DIRECTORY = "ray"  # below OUT, while a run is under way: Ray Train's own notes


def train_on_workers(
    config: TrainingConfig, options: TrainingOptions, proteins: Proteins, out: Path, report: Report | None = None
) -> TrainingSummary:
    """Train with `options.workers` workers, unset: one a GPU of the cluster, else one with all cores of a machine.

    SIGTERM and Ctrl-C end the run after a checkpoint. Raises ConfigError, ClusterError before anything starts,
    TrainingError when workers were lost too often, and whatever `train_here` raises.
    """
    from protea_ray.cluster.connect import connect

    out = Path(out).absolute()
    require_place(out)
    connect(RunOptions(address=options.address))
    _require_shared(out)
    (out / STOP_FILE).unlink(missing_ok=True)
    asked: list[str] = []

    def ask(reason: str) -> None:
        asked.append(reason)
        (out / STOP_FILE).write_text(reason, encoding="utf-8")  # which asks the workers to stop

    try:
        with stop_signals(ask), ThreadPoolExecutor(1, "ray-train") as pool:
            from ray.util.queue import Queue

            events = Queue(actor_options={"num_cpus": 0})
            fit = pool.submit(_fit, config, options, proteins, out, events)
            _pass_on(events, fit, recorded(report or (lambda _: None), out), asked)
            return fit.result()
    finally:
        (out / STOP_FILE).unlink(missing_ok=True)
        shutil.rmtree(out / _DIRECTORY, ignore_errors=True)


def _fit(
    config: TrainingConfig, options: TrainingOptions, proteins: Proteins, out: Path, events: Queue
) -> TrainingSummary:
    """Run the group of workers to its end. In a thread, so that signals stay with this package."""
    import ray
    from ray.train import FailureConfig, RunConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    scaling, on_gpu = _scaling(options)
    held = {
        "config": config, "options": options.model_copy(update={"device": "cuda" if on_gpu else "cpu"}),
        "proteins": ray.put(proteins), "out": out, "events": events,
    }  # fmt: skip
    trainer = TorchTrainer(
        _worker,
        train_loop_config=held,
        scaling_config=scaling,
        torch_config=TorchConfig(backend="nccl" if on_gpu else "gloo", timeout_s=PEER_SECONDS),
        run_config=RunConfig(
            name=f"mlm-{uuid.uuid4().hex[:8]}",  # a name that Ray knows would bring back its own state
            storage_path=str(out / _DIRECTORY),
            failure_config=FailureConfig(max_failures=options.max_failures),
        ),
    )
    try:
        done: Any = trainer.fit().return_value
    except TrainingFailedError as error:
        raise _failure(error, out, options.max_failures) from error
    if isinstance(done, ProteaRayError):
        raise done
    return done


def _worker(held: Mapping[str, Any]) -> TrainingSummary | ProteaRayError:
    """One rank. An error that every rank has is returned: another start of the group would only meet it again."""
    import ray
    from ray import train

    context = train.get_context()
    rank = context.get_world_rank()

    def report(event: Mapping[str, Any]) -> None:
        if rank == 0:
            held["events"].put(dict(event))
        if event["kind"] == "validation":  # every rank has it at the same step; Ray waits for all of them
            train.report({"step": event["step"], "loss": event["loss"]})

    try:
        return train_here(
            held["config"], held["options"], ray.get(held["proteins"]), held["out"], rank=rank,
            world=context.get_world_size(), report=report,
        )  # fmt: skip
    except ProteaRayError as error:
        if isinstance(error.__cause__, OSError):  # a full disk is rank 0's alone, and may have room again
            raise
        return error


def _scaling(options: TrainingOptions) -> tuple[Any, bool]:
    """Ray's ScalingConfig, and whether the workers have a GPU each; raises ConfigError for more than there are."""
    import ray
    from ray.train import ScalingConfig

    held = ray.cluster_resources()
    gpus, cores = int(held.get("GPU", 0)), int(held.get("CPU", 1))
    on_gpu = options.device == "cuda" or (options.device == "auto" and gpus > 0)
    workers = options.workers or (gpus if on_gpu else 1)
    have, what = (gpus, "GPU") if on_gpu else (cores, "CPU core")
    if not 0 < workers <= have:
        raise ConfigError(f"workers {workers or 1}: the cluster has {have} {what}(s), and each worker takes one",
                          where="training")  # fmt: skip
    widest = max(int(node["Resources"].get("CPU", 1)) for node in ray.nodes() if node["Alive"])
    each = {"CPU": 1 if on_gpu else max(1, widest if workers == 1 else cores // workers)}
    if on_gpu:
        each["GPU"] = 1
    return ScalingConfig(num_workers=workers, use_gpu=on_gpu, resources_per_worker=each), on_gpu


def _is_file(path: str) -> bool:
    return Path(path).is_file()


def _require_shared(out: Path) -> None:
    """Raise ConfigError unless every node of the cluster sees what is written into `out`."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [node for node in ray.nodes() if node["Alive"]]
    if len(nodes) < 2:
        return
    probe = out / f".probe-{uuid.uuid4().hex}"
    probe.touch()
    sees: Any = ray.remote(num_cpus=0)(_is_file)
    try:
        asked = {
            node["NodeManagerAddress"]: sees.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote(str(probe))
            for node in nodes
        }
        blind = [address for address, answer in asked.items() if not ray.get(answer)]
    finally:
        probe.unlink()
    if blind:
        raise ConfigError(f"{out} is not the same directory on {', '.join(blind)}: a worker there would start from "
                          "nothing. Name one that all nodes of the cluster mount", where="training")  # fmt: skip


def _pass_on(events: Queue, fit: Future[TrainingSummary], report: Report, asked: list[str]) -> None:
    """Report what rank 0 reports until the run has ended, and once that it was `asked` to stop."""
    from ray.util.queue import Empty

    told = False
    while True:
        ended = fit.done()
        if asked and not told:
            report({"kind": "note", "text": "stopping after the step under way, with a checkpoint; again ends at once"})
            told = True
        try:
            while True:
                report(events.get(timeout=0.1 if ended else 1.0))
        except Empty:
            if ended:
                return


def _failure(error: Any, out: Path, failures: int) -> ProteaRayError:
    """What ended a run for good: the package's own error of a worker, else in words what Ray says of the last one."""
    causes = list(getattr(error, "worker_failures", {}).values())
    for cause in causes:
        if isinstance(cause, ProteaRayError):
            return cause
    what = "; ".join(dict.fromkeys(str(cause).strip().splitlines()[-1] for cause in causes)) or str(error)
    return TrainingError(
        f"workers were lost more than max_failures {failures} times; the last: {what[:500]}. {out} holds the newest "
        f"checkpoint, and the same command goes on from it."
    )
