"""The probe of a task per residue, on made stores whose matrices tell the states, and on controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from protea_ray.errors import InputError, StoreError
from protea_ray.evaluate import residue_probe, residue_reading
from protea_ray.evaluate.inputs import Input
from protea_ray.evaluate.protocol import Protocol
from protea_ray.evaluate.residue_probe import residue_counts, sides_of
from protea_ray.evaluate.softmax_regression import Scale
from protea_ray.evaluate.task import UNRESOLVED, Task
from protea_ray.query.view import View
from protea_ray.store.location import Location
from tests.evaluate.chains import STATES, chain_task, control, states, subject
from tests.store import build

QUICK = Protocol(residue_learning_rate=0.02)


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> Location:
    return build.store(tmp_path_factory.mktemp("probe") / "s", range(60), per_unit=60, with_residues=True)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """About six blocks of training chains."""
    monkeypatch.setattr(residue_reading, "BLOCK_BYTES", 200 * build.WIDTH * 4)


def counted(
    location: Location,
    seeds: Sequence[int] = (0, 1),
    task: Task | None = None,
    given: Input | None = None,
    **options: object,
) -> dict[int, np.ndarray]:
    protocol = replace(QUICK, **options)
    return dict(residue_counts(task or chain_task(), given or subject(location), location.uri, seeds, protocol))


def accuracy(counts: np.ndarray) -> float:
    return float(np.trace(counts.sum(axis=0)) / counts.sum())


def numbers(task: Task, chains: np.ndarray) -> list[int]:
    return [int(task.ids[chain][1:]) for chain in chains]


def test_counts_are_the_resolved_residues_of_each_tested_chain_by_their_true_state(location: Location) -> None:
    task = chain_task()
    for counts in counted(location).values():
        assert counts.shape == (len(task.tested), len(STATES), len(STATES))
        for chain, found in zip(numbers(task, task.tested), counts, strict=True):
            assert found.sum(axis=1).tolist() == [int((states(chain) == state).sum()) for state in range(3)]


def test_a_signal_in_the_matrices_is_found_as_well_as_by_an_exact_fit_and_is_not_in_controls(
    location: Location,
) -> None:
    task = chain_task()
    sides = sides_of(task, 0, 0.1)

    def residues(chains: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        own = numbers(task, chains)
        return np.concatenate([build.residues(n)[states(n) >= 0] for n in own]), np.concatenate(
            [states(n)[states(n) >= 0] for n in own]
        )

    exact = LogisticRegression(C=10).fit(*residues(sides.fitted)).score(*residues(task.tested))
    _, truth = residues(task.tested)
    most = np.bincount(truth).max() / len(truth)
    assert exact > 0.9
    for counts in counted(location).values():
        assert accuracy(counts) > exact - 0.03
    for name in ("random", "composition", "window"):
        for counts in counted(location, given=control(name)).values():
            assert accuracy(counts) < most + 0.06


def test_a_seeds_counts_do_not_depend_on_others_on_rows_or_on_threads(location: Location, tmp_path: Path) -> None:
    together = counted(location, (0, 1, 2))
    assert not (together[0] == together[1]).all()
    assert (counted(location, (2,))[2] == together[2]).all()
    turned = build.store(tmp_path / "s", range(59, -1, -1), per_unit=9, with_residues=True)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        again = counted(turned, (1, 2))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert all((again[seed] == together[seed]).all() for seed in (1, 2))


def test_every_fold_is_tested_by_a_probe_of_the_others(location: Location) -> None:
    task = chain_task(folds=3)
    counts = counted(location, (0,), task)[0]
    assert counts.sum(axis=(1, 2)).tolist() == [int((states(n) >= 0).sum()) for n in numbers(task, task.tested)]
    assert accuracy(counts) > 0.85
    elsewhere = np.repeat(task.fold != 0, task.lengths) & (task.targets != UNRESOLVED)
    only_here = replace(task, targets=np.where(elsewhere, 2, task.targets).astype(np.int8))
    of_fold = counted(location, (0,), only_here)[0][task.fold == 0]
    assert of_fold.sum(axis=(0, 1))[:2].tolist() == [0, 0], "a probe that saw its own fold knows other states than C"


def test_validation_chains_are_the_files_or_whole_groups_that_the_fold_draws() -> None:
    given = sides_of(chain_task(), 0, 0.1)
    at = np.arange(60)
    assert given.chooses.tolist() == at[1::9].tolist()
    assert sorted([*given.fitted, *given.chooses, *at[::3]]) == at.tolist()
    grouped = replace(chain_task(folds=4), group=np.arange(60) // 6)
    drawn = sides_of(grouped, 1, 0.2)
    held_out = set(grouped.group[drawn.chooses])
    assert len(held_out) == 2
    assert held_out.isdisjoint(grouped.group[drawn.fitted])
    assert not set(np.flatnonzero(grouped.fold == 1)) & {*drawn.fitted, *drawn.chooses}
    assert sides_of(grouped, 2, 0.2).chooses.tolist() != drawn.chooses.tolist()


@pytest.mark.parametrize(
    ("side", "said"), [("fitted", " 0 residues with a state to train"), ("chooses", " 0 to choose the epoch by")]
)
def test_a_split_without_states_to_train_on_or_to_choose_by_is_refused(
    location: Location, side: str, said: str
) -> None:
    task = chain_task()
    none = np.isin(np.arange(60), getattr(sides_of(task, 0, 0.1), side))
    blank = np.where(np.repeat(none, task.lengths), UNRESOLVED, task.targets).astype(np.int8)
    with pytest.raises(InputError, match=r"task chains, beside fold 0: .* 0 to" if side == "chooses" else "0 residues"):
        counted(location, task=replace(task, targets=blank))


def test_each_seed_keeps_its_best_epoch_and_training_ends_when_all_have_waited(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [[3.0, 3.0], [2.0, 4.0], [5.0, 4.0], [5.0, 0.5], [1.0, 1.0], [1.0, 1.0]]
    asked, kept = iter(said), []
    monkeypatch.setattr(residue_probe._Fold, "_validation_losses", lambda *_: np.array(next(asked)))
    keep = residue_probe.SoftmaxRegressions.keep
    monkeypatch.setattr(
        residue_probe.SoftmaxRegressions, "keep", lambda fits, s: (kept.append(s.tolist()), keep(fits, s))
    )
    counted(location, residue_patience=2)
    assert kept == [[True, True], [True, False], [False, False], [False, False]]
    assert list(asked) == said[4:]


def test_a_value_that_is_no_number_is_named_by_its_chain(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    task = chain_task()
    real = residue_reading._matrix

    def damaged(raw: bytes, view: View, id: str, residues: int) -> np.ndarray:
        made = real(raw, view, id, residues).copy()
        if id == bad:
            made[2, 3] = np.nan
        return made

    monkeypatch.setattr(residue_reading, "_matrix", damaged)
    given = sides_of(task, 0, 0.1)
    for chains in (given.fitted, given.chooses, task.tested):
        bad = task.ids[chains[-1]]
        with pytest.raises(StoreError, match=f"residue matrix of {bad} holds values that are no numbers"):
            counted(location, residue_epochs=1)


def test_features_are_standardised_by_the_training_residues_alone(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, found = chain_task(), []

    def noted(mean: torch.Tensor, deviation: torch.Tensor) -> Scale:
        found.extend([mean.numpy(), deviation.numpy()])
        return Scale(mean, deviation)

    monkeypatch.setattr(residue_probe, "Scale", noted)
    counted(location, (0,), residue_epochs=1)
    own = numbers(task, sides_of(task, 0, 0.1).fitted)
    rows = np.concatenate([build.residues(n)[states(n) >= 0] for n in own]).astype(np.float64)
    assert np.allclose(found, [rows.mean(axis=0), rows.std(axis=0)], rtol=1e-6, atol=1e-7)
