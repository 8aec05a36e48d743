"""Predictions of both probes for the tested proteins of a task, from one input with one seed.

For each fold the features are standardised by the proteins that are fitted to, and each probe is trained apart from
the other, so that neither depends on it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from protea_ray.evaluate.drawing import seed_of, sides
from protea_ray.evaluate.features import refuse_not_finite
from protea_ray.evaluate.ontology import ancestor_matrix, consistent
from protea_ray.evaluate.probe_training import PROBES, Labelled, Probe, fit, one_thread
from protea_ray.evaluate.protocol import Protocol
from protea_ray.evaluate.task import CLASSIFICATION, MULTILABEL, REGRESSION, Task

_SMALLEST_SPREAD = 1e-6  # of a feature; one that varies less is constant and stays 0


def predictions(task: Task, features: np.ndarray, seed: int, protocol: Protocol) -> dict[str, np.ndarray]:
    """Train on `features` (n, width), float16 or float32, in the order of the task's proteins.

    Returns by probe, in the order of `task.tested`, float32: (tested, classes) probabilities; (tested, terms) in
    [0, 1], 0 for a term that is not learnable in the protein's fold and no term less likely than one below it; or
    (tested,) numbers. The same arguments give the same bits on one kind of machine. Raises InputError that names the
    proteins whose features are not finite.
    """
    refuse_not_finite(features, task, "its features")
    width = {CLASSIFICATION: (len(task.names),), MULTILABEL: (len(task.names),), REGRESSION: ()}[task.kind]
    found = {name: np.zeros((len(task.tested), *width), np.float32) for name in PROBES}
    with one_thread():
        for fold in task.folds:
            rows = np.flatnonzero(task.fold[task.tested] == fold)
            for name, scores in _of_fold(task, features, fold, seed, protocol).items():
                found[name][rows] = scores
    return found


def _of_fold(task: Task, features: np.ndarray, fold: int, seed: int, protocol: Protocol) -> dict[str, np.ndarray]:
    """Scores of the proteins of one fold by probe, in ascending order of their numbers."""
    fitted, chooses = sides(task, fold, seed, protocol.validation_share)
    tested = np.flatnonzero(task.fold == fold)
    learnable = task.learnable(fold) if task.kind == MULTILABEL else None
    if learnable is not None and not learnable.any():
        return {}
    targets, back = _targets(task, fitted, learnable)
    inputs = _standardised(features, fitted)
    outputs = 1 if task.kind == REGRESSION else (len(task.names) if learnable is None else int(learnable.sum()))
    chooses = _known(task, fitted, chooses)
    learns, judges = (Labelled(inputs[rows], targets[rows]) for rows in (fitted, chooses))
    scores = {}
    for name in PROBES:
        probe = fit(name, outputs, learns, judges, task.kind, protocol, seed_of(seed, fold, name))
        scores[name] = _scores(task, probe, inputs[tested], learnable, back)
    return scores


def _known(task: Task, fitted: np.ndarray, chooses: np.ndarray) -> np.ndarray:
    """Those of `chooses` whose class is in training: the loss of another one only grows."""
    if task.kind != CLASSIFICATION:
        return chooses
    return chooses[np.isin(task.targets[chooses], task.targets[fitted])]


def _standardised(features: np.ndarray, fitted: np.ndarray) -> Tensor:
    """(n, width) float32 with mean 0 and standard deviation 1 over the rows in `fitted`."""
    wide = features.astype(np.float64)
    mean, spread = wide[fitted].mean(axis=0), wide[fitted].std(axis=0)
    wide -= mean
    wide /= np.where(spread > _SMALLEST_SPREAD, spread, np.inf)
    return torch.from_numpy(wide.astype(np.float32))


def _targets(task: Task, fitted: np.ndarray, learnable: np.ndarray | None) -> tuple[Tensor, tuple[float, float]]:
    """Targets as the loss takes them, and the mean and spread by which numbers were standardised."""
    if task.kind == CLASSIFICATION:
        return torch.from_numpy(task.targets.astype(np.int64)), (0.0, 1.0)
    if learnable is not None:
        return torch.from_numpy(task.targets[:, learnable].astype(np.float32)), (0.0, 1.0)
    mean, spread = float(task.targets[fitted].mean()), float(task.targets[fitted].std()) or 1.0
    return torch.from_numpy(((task.targets - mean) / spread).astype(np.float32)), (mean, spread)


@torch.no_grad()
def _scores(
    task: Task, probe: Probe, inputs: Tensor, learnable: np.ndarray | None, back: tuple[float, float]
) -> np.ndarray:
    """Scores of one probe as `predictions` gives them."""
    raw = probe.scores(inputs)
    if task.kind == CLASSIFICATION:
        return raw.softmax(1).numpy()
    if learnable is None:
        return raw[:, 0].numpy() * back[1] + back[0]
    likely = raw.sigmoid().numpy()
    if task.parents:
        names = [name for name, learned in zip(task.names, learnable, strict=True) if learned]
        likely = consistent(likely, ancestor_matrix(names, task.parents))
    scores = np.zeros((len(inputs), len(learnable)), np.float32)
    scores[:, learnable] = likely
    return scores
