"""Probes on frozen embeddings, and their training loop. Every worker of a Ray Train job runs it; rank 0 predicts.

All probes see the same batches: a linear layer and a small MLP on the vectors, and the same two on the amino-acid
composition, which is what the vectors have to beat. Features are standardised by the training set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from protea_ray.evaluate.composition import composition
from protea_ray.query.reader import Store, open_store
from protea_ray.query.training.labels import read_labels
from protea_ray.query.training.torch_dataset import TorchDataset
from protea_ray.query.view import Pin


@dataclass(frozen=True)
class ProbePlan:
    """Everything that a worker needs to train. `labels` is a Parquet file with id, row (of the task) and split."""

    store: str
    pin: dict[str, Any]
    labels: str
    pooling: str
    kind: str
    outputs: int
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    hidden: int
    seed: int


class Probes(nn.Module):
    """Every probe on every input; forward gives (n, outputs) by "<input> <probe>". No MLP where `hidden` is 0."""

    def __init__(self, scales: dict[str, tuple[Tensor, Tensor]], outputs: int, hidden: int) -> None:
        super().__init__()
        self.heads = nn.ModuleDict()
        for name, (mean, std) in scales.items():
            self.register_buffer(f"{name}_mean", mean)
            self.register_buffer(f"{name}_std", std)
            width = len(mean)
            self.heads[f"{name} linear"] = nn.Linear(width, outputs)
            if hidden:
                self.heads[f"{name} mlp"] = nn.Sequential(
                    nn.Linear(width, hidden), nn.GELU(), nn.Dropout(0.2), nn.Linear(hidden, outputs)
                )

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        scaled = {n: (x - self.get_buffer(f"{n}_mean")) / self.get_buffer(f"{n}_std") for n, x in inputs.items()}
        return {name: head(scaled[name.split()[0]]) for name, head in self.heads.items()}


def loss_of(kind: str, scores: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy, binary cross-entropy of each term, or squared error."""
    if kind == "classification":
        return F.cross_entropy(scores, targets)
    if kind == "multilabel":
        return F.binary_cross_entropy_with_logits(scores, targets)
    return F.mse_loss(scores[:, 0], targets)


def probabilities(kind: str, scores: dict[str, Tensor]) -> dict[str, Tensor]:
    """Scores of each probe as predictions: probabilities of classes or terms, or the numbers of a regression."""
    if kind == "classification":
        return {name: s.softmax(1) for name, s in scores.items()}
    if kind == "multilabel":
        return {name: s.sigmoid() for name, s in scores.items()}
    return scores


def inputs_of(batch: dict[str, Any], pooling: str) -> dict[str, Tensor]:
    """Both inputs of a batch, in single precision."""
    return {"embedding": batch[pooling].float(), "composition": torch.from_numpy(composition(batch["sequence"]))}


def data_of(plan: ProbePlan, store: Store, split: str, rank: int, world: int, batch_size: int) -> TorchDataset:
    """One rank's part of training, in equal numbers of batches, or of the test set, in order and whole."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(plan.labels)
    mine = table.filter(pc.field("split") == split).select(["id", "row"])
    train = split == "train"
    return store.torch(
        Pin(**plan.pin),
        columns=[plan.pooling, "sequence"],
        labels=read_labels(mine),
        batch_size=batch_size,
        shuffle=train,
        drop_last=train,
        seed=plan.seed,
        rank=rank,
        world_size=world,
    )


def scales_of(data: TorchDataset, plan: ProbePlan, total: Any) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and standard deviation of every feature; `total` adds a tensor up over all ranks."""
    sums: dict[str, Tensor] = {}
    for batch in data:
        for name, values in inputs_of(batch, plan.pooling).items():
            wide = values.double()
            moments = torch.stack([torch.ones_like(wide[0]) * len(wide), wide.sum(0), wide.square().sum(0)])
            sums[name] = sums.get(name, 0) + moments
    scales = {}
    for name, moments in sums.items():
        count, first, second = total(moments)
        mean = first / count
        std = (second / count - mean.square()).clamp(min=0).sqrt()
        scales[name] = mean.float(), torch.where(std > 1e-6, std, 1.0).float()
    return scales


def train(config: dict[str, Any]) -> dict[str, Any] | None:
    """One worker of Ray Train; `config` is {plan, targets, used}, and what comes back that of `fit_probes`."""
    import ray.train
    import ray.train.torch

    context = ray.train.get_context()
    plan, targets = ProbePlan(**config["plan"]), torch.from_numpy(config["targets"])
    share = Share(context.get_world_rank(), context.get_world_size(), config["used"]["train"])
    return fit_probes(plan, targets, share, ray.train.torch.prepare_model, ray.train.report)


@dataclass(frozen=True)
class Share:
    """The rank of this worker, the number of workers, and the number of training proteins of all of them."""

    rank: int
    world: int
    proteins: int


def fit_probes(
    plan: ProbePlan,
    targets: Tensor,
    share: Share,
    prepare: Callable[[nn.Module], nn.Module],
    report: Callable[[dict[str, float]], None],
) -> dict[str, Any] | None:
    """Train, and on rank 0 predict: scores (tests, outputs) by probe, rows of the task, losses by epoch, and pin.

    `prepare` makes gradients common to all workers. `report` is given the last epoch's losses, once: Ray Train
    collects a report every two seconds, which is longer than an epoch of small probes.
    """
    torch.manual_seed(plan.seed)
    torch.set_num_threads(1)  # layers this small cost 2.5 times the CPU on two threads, and Ray counts on one
    store = open_store(plan.store)
    batch_size = max(1, min(plan.batch_size, share.proteins // share.world))
    data = data_of(plan, store, "train", share.rank, share.world, batch_size)
    probes = Probes(scales_of(data, plan, _sum_over_ranks), plan.outputs, plan.hidden)
    model = prepare(probes)
    optimiser = torch.optim.AdamW(model.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
    losses = []
    for epoch in range(plan.epochs):
        data.set_epoch(epoch)
        losses.append(_train_epoch(model, optimiser, data, plan, targets))
    report({"epochs": plan.epochs, **losses[-1]})
    if share.rank:
        return None
    rows, scores = predict(probes, data_of(plan, store, "test", 0, 1, 1024), plan)
    return {"rows": rows, "scores": scores, "losses": losses, "pin": data.pin.to_json()}


def _sum_over_ranks(values: Tensor) -> Tensor:
    if torch.distributed.is_initialized():
        torch.distributed.all_reduce(values)
    return values


def _train_epoch(
    model: nn.Module, optimiser: Any, data: TorchDataset, plan: ProbePlan, targets: Tensor
) -> dict[str, float]:
    """One pass; returns the mean loss of each probe on this rank's batches."""
    model.train()
    sums: dict[str, float] = {}
    for batch in data:
        scores = model(inputs_of(batch, plan.pooling))
        losses = {name: loss_of(plan.kind, s, targets[batch["row"]]) for name, s in scores.items()}
        optimiser.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimiser.step()
        for name, loss in losses.items():
            sums[name] = sums.get(name, 0.0) + loss.item() / len(data)
    return sums


def predict(probes: Probes, data: TorchDataset, plan: ProbePlan) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(tests,) rows of the task, and scores (tests, outputs) by probe: probabilities, or numbers of a regression."""
    probes.eval()
    found = list(_scores_by_batch(probes, data, plan))
    rows = np.concatenate([rows for rows, _ in found])
    return rows, {name: np.concatenate([scores[name] for _, scores in found]) for name in found[0][1]}


@torch.no_grad()
def _scores_by_batch(
    probes: Probes, data: TorchDataset, plan: ProbePlan
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    for batch in data:
        scores = probabilities(plan.kind, probes(inputs_of(batch, plan.pooling)))
        yield batch["row"].numpy(), {name: s.numpy() for name, s in scores.items()}
