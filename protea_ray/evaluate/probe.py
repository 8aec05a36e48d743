"""Predictions of both probes for the tested proteins of a task, from one input with one seed.

For each fold the features are standardised by the training proteins, and each probe is trained apart from the other.
Where the validation proteins were drawn, they choose the number of epochs, and the probe is then trained for as many
anew, with them: a tenth more proteins are worth more than the weights of that very epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from protea_ray.evaluate.drawing import Sides, seed_of, sides
from protea_ray.evaluate.features import refuse_not_finite
from protea_ray.evaluate.ontology import ancestor_matrix, consistent
from protea_ray.evaluate.probe_training import PROBES, Labelled, Probe, fit, one_thread
from protea_ray.evaluate.protocol import Protocol
from protea_ray.evaluate.task import CLASSIFICATION, MULTILABEL, REGRESSION, Task

_SMALLEST_SPREAD = 1e-6  # of a feature; one that varies less is constant and stays 0


def predictions(
    task: Task, features: np.ndarray, seed: int, protocol: Protocol, probes: Sequence[str] = PROBES
) -> dict[str, np.ndarray]:
    """Train on `features` (n, width), float16 or float32, in the order of the task's proteins.

    Returns by probe, in the order of `task.tested`, float32: (tested, classes) probabilities; (tested, terms) in
    [0, 1], 0 for a term that is not learnable in the protein's fold and no term less likely than one below it; or
    (tested,) numbers. The same arguments give the same bits on one kind of machine, whichever other `probes` are
    trained. Raises InputError that names the proteins whose features are not finite.
    """
    refuse_not_finite(features, task, "its features")
    width = {CLASSIFICATION: (len(task.names),), MULTILABEL: (len(task.names),), REGRESSION: ()}[task.kind]
    found = {name: np.zeros((len(task.tested), *width), np.float32) for name in probes}
    with one_thread():
        for fold in task.folds:
            rows = np.flatnonzero(task.fold[task.tested] == fold)
            for name, scores in _of_fold(task, features, fold, seed, protocol, probes).items():
                found[name][rows] = scores
    return found


def _of_fold(
    task: Task, features: np.ndarray, fold: int, seed: int, protocol: Protocol, probes: Sequence[str]
) -> dict[str, np.ndarray]:
    """Scores of the proteins of one fold by probe, in ascending order of their numbers."""
    side = sides(task, fold, seed, protocol.validation_share)
    tested = np.flatnonzero(task.fold == fold)
    learnable = task.learnable(fold) if task.kind == MULTILABEL else None
    if learnable is not None and not learnable.any():
        return {}
    targets, back = _targets(task, side.learned, learnable)
    inputs = _standardised(features, side.learned)
    outputs = 1 if task.kind == REGRESSION else (len(task.names) if learnable is None else int(learnable.sum()))
    chooses = _known(task, side)
    learns, judges, all_of_them = (Labelled(inputs[r], targets[r]) for r in (side.fitted, chooses, side.learned))
    above = _ancestors(task, learnable)
    scores = {}
    for name in probes:
        number = seed_of(seed, fold, name)
        probe = fit(name, outputs, learns, judges, task.kind, protocol, number)
        if side.drawn and len(chooses):
            as_long, nobody = replace(protocol, epochs=probe.epochs), Labelled(inputs[:0], targets[:0])
            probe = fit(name, outputs, all_of_them, nobody, task.kind, as_long, number)
        scores[name] = _scores(task, probe, inputs[tested], learnable, above, back)
    return scores


def _known(task: Task, side: Sides) -> np.ndarray:
    """Those that choose, without proteins whose class is not in training: the loss of these only grows."""
    if task.kind != CLASSIFICATION:
        return side.chooses
    return side.chooses[np.isin(task.targets[side.chooses], task.targets[side.fitted])]


def _standardised(features: np.ndarray, learned: np.ndarray) -> Tensor:
    """(n, width) float32 with mean 0 and standard deviation 1 over the rows in `learned`."""
    wide = features.astype(np.float64)
    mean, spread = wide[learned].mean(axis=0), wide[learned].std(axis=0)
    wide -= mean
    wide /= np.where(spread > _SMALLEST_SPREAD, spread, np.inf)
    return torch.from_numpy(wide.astype(np.float32))


def _targets(task: Task, learned: np.ndarray, learnable: np.ndarray | None) -> tuple[Tensor, tuple[float, float]]:
    """Targets as the loss takes them, and the mean and spread by which numbers were standardised."""
    if task.kind == CLASSIFICATION:
        return torch.from_numpy(task.targets.astype(np.int64)), (0.0, 1.0)
    if learnable is not None:
        return torch.from_numpy(task.targets[:, learnable].astype(np.float32)), (0.0, 1.0)
    mean, spread = float(task.targets[learned].mean()), float(task.targets[learned].std()) or 1.0
    return torch.from_numpy(((task.targets - mean) / spread).astype(np.float32)), (mean, spread)


def _ancestors(task: Task, learnable: np.ndarray | None) -> np.ndarray | None:
    """The graph of the learnable terms as `consistent` takes it; None of a task without a graph."""
    if learnable is None or not task.parents:
        return None
    return ancestor_matrix([name for name, learned in zip(task.names, learnable, strict=True) if learned], task.parents)


@torch.no_grad()
def _scores(
    task: Task,
    probe: Probe,
    inputs: Tensor,
    learnable: np.ndarray | None,
    above: np.ndarray | None,
    back: tuple[float, float],
) -> np.ndarray:
    """Scores of one probe as `predictions` gives them."""
    raw = probe.scores(inputs)
    if task.kind == CLASSIFICATION:
        return raw.softmax(1).numpy()
    if learnable is None:
        return raw[:, 0].numpy() * back[1] + back[0]
    likely = raw.sigmoid().numpy()
    if above is not None:
        likely = consistent(likely, above)
    scores = np.zeros((len(inputs), len(learnable)), np.float32)
    scores[:, learnable] = likely
    return scores
