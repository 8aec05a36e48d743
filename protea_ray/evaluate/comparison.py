"""Several inputs through the same probes, over seeds: which frozen vectors hold more of a task, and by how much.

The probes, their losses and their metrics are those of `jobs.train_probe`. All inputs of a task are in one training, so
they see the same proteins in the same batches; a seed sets the order of the batches, the first weights and the dropout.
Nothing is chosen by the test proteins: no layer, no epoch, no threshold but Fmax's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from protea_ray.evaluate.experiment import final_scores, measure
from protea_ray.evaluate.metrics import HEADLINE
from protea_ray.evaluate.nearest import chance_share, same_group_share
from protea_ray.evaluate.probes import Probes, loss_of, probabilities

_BLOCK = 65536  # rows that are made float32 at a time


@dataclass(frozen=True)
class Question:
    """A task as arrays: `targets` (n, ...) as `Task.encoded` gives them, rows of each side, and outputs of a probe.

    `metric` is what the table shows; `hidden` 0 asks for linear probes alone.
    """

    name: str
    kind: str
    targets: np.ndarray
    train: np.ndarray
    test: np.ndarray
    outputs: int
    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    hidden: int = 256
    headline: str = ""
    ancestors: np.ndarray | None = None

    @property
    def metric(self) -> str:
        """Name of the metric that the table shows."""
        return self.headline or HEADLINE[self.kind]


def scores_of(question: Question, inputs: Mapping[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Train every probe on the training rows of every input (n, width).

    Returns the predictions (tests, outputs) by "<input> <probe>".
    """
    torch.manual_seed(seed)
    features = {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in inputs.items()}
    targets, rows = torch.from_numpy(question.targets), torch.from_numpy(question.train)
    probes = Probes({name: _scale(f, rows) for name, f in features.items()}, question.outputs, question.hidden)
    optimiser = torch.optim.AdamW(
        probes.parameters(), lr=question.learning_rate, weight_decay=question.weight_decay, foreach=True
    )
    for _ in range(question.epochs):
        for batch in rows[torch.randperm(len(rows))].split(question.batch_size):
            scores = probes({name: f[batch].float() for name, f in features.items()})
            loss = torch.stack([loss_of(question.kind, s, targets[batch]) for s in scores.values()]).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return _predicted(probes, features, torch.from_numpy(question.test), question.kind)


def _scale(values: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (width,) of the training rows; 1 for a feature that is constant."""
    first = second = torch.zeros(())
    for block in rows.split(_BLOCK):
        wide = values[block].double()
        first, second = first + wide.sum(0), second + wide.square().sum(0)
    mean = first / len(rows)
    std = (second / len(rows) - mean.square()).clamp(min=0).sqrt()
    return mean.float(), torch.where(std > 1e-6, std, 1.0).float()


@torch.no_grad()
def _predicted(probes: Probes, features: Mapping[str, Tensor], rows: Tensor, kind: str) -> dict[str, np.ndarray]:
    probes.eval()
    found: dict[str, list[np.ndarray]] = {}
    for block in rows.split(_BLOCK):
        scores = probabilities(kind, probes({name: f[block].float() for name, f in features.items()}))
        for name, s in scores.items():
            found.setdefault(name, []).append(s.numpy())
    return {name: np.concatenate(parts) for name, parts in found.items()}


def compare(question: Question, inputs: Mapping[str, np.ndarray], seeds: int) -> dict[str, Any]:
    """Every probe on every input, `seeds` times: metrics of each seed, and their mean and spread, on the test rows."""
    truth = question.targets[question.test]
    truth = truth > 0 if question.kind == "multilabel" else truth
    values: dict[str, list[dict[str, float]]] = {}
    for seed in range(seeds):
        for name, scores in scores_of(question, inputs, seed).items():
            final = final_scores(question.kind, scores, question.ancestors)
            values.setdefault(name, []).append(measure(question.kind, truth, final))
    return {
        "metric": question.metric,
        "train": len(question.train),
        "test": len(question.test),
        "values": values,
        "probes": {name: summary(of_seeds) for name, of_seeds in values.items()},
    }


def summary(values: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation (n - 1) over seeds of each metric."""
    table = {name: np.array([v[name] for v in values]) for name in values[0]}
    return {n: {"mean": float(v.mean()), "sd": float(v.std(ddof=1)) if len(v) > 1 else 0.0} for n, v in table.items()}


def verdict(found: Mapping[str, Any], metric: str, subject: str, controls: Sequence[str]) -> dict[str, Any]:
    """By probe: how far `subject` is above the best of `controls`, and whether by more than the spread of both.

    `found` is {"<input> <probe>": summary}. The spread is the larger of the two standard deviations over seeds.
    """
    said: dict[str, Any] = {}
    for probe in dict.fromkeys(name.split()[1] for name in found):
        ours = found[f"{subject} {probe}"][metric]
        best = max((found[f"{c} {probe}"][metric] for c in controls), key=lambda value: value["mean"])
        margin, spread = ours["mean"] - best["mean"], max(ours["sd"], best["sd"])
        said[probe] = {"margin": margin, "spread": spread, "above": bool(margin > spread)}
    return said


def family_shares(inputs: Mapping[str, np.ndarray], families: Sequence[str]) -> dict[str, float]:
    """Share of proteins whose nearest neighbour is of their own family, by input, and what chance gives."""
    shares = {name: same_group_share(vectors, families) for name, vectors in inputs.items()}
    return {"chance": chance_share(families), **shares}


def table_lines(tasks: Mapping[str, Any], shares: Mapping[str, Any]) -> Iterator[str]:
    """The comparison as Markdown: one row for each task and input, mean and standard deviation over seeds."""
    yield "| task | input | linear | mlp | metric |"
    yield "|---|---|---|---|---|"
    for task, found in tasks.items():
        metric = found["metric"]
        for name in dict.fromkeys(key.split()[0] for key in found["probes"]):
            cells = [found["probes"].get(f"{name} {probe}", {}).get(metric) for probe in ("linear", "mlp")]
            shown = " | ".join("" if c is None else f"{c['mean']:.3f} ± {c['sd']:.3f}" for c in cells)
            yield f"| {task} | {name} | {shown} | {metric} |"
    for name, share in shares.items():
        yield f"| same family | {name} | {share:.3f} |  | share of nearest neighbours |"
