"""Several inputs through the same probes: what each finds, what a seed changes, and what the table says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn", reason="the extra `train` is not installed")

from protea_ray.evaluate.comparison import Question, compare, family_shares, scores_of, summary, table_lines, verdict

DRAW = np.random.default_rng(0)
CLASSES = DRAW.integers(0, 3, 300)
KNOWING = (np.eye(3)[CLASSES] * 2 + DRAW.normal(size=(300, 3))).astype(np.float32)
INPUTS = {"small@0": KNOWING * 1000 + 5, "noise": DRAW.normal(size=(300, 8)).astype(np.float16)}
QUESTION = Question(
    "of the test", "classification", CLASSES, np.arange(200), np.arange(200, 300), 3, epochs=8, hidden=8
)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_a_linear_probe_is_as_good_as_logistic_regression() -> None:
    from sklearn.linear_model import LogisticRegression

    found = compare(replace(QUESTION, epochs=60), INPUTS, 2)
    expected = LogisticRegression().fit(KNOWING[:200], CLASSES[:200]).score(KNOWING[200:], CLASSES[200:])
    assert expected > 0.7
    assert found["probes"]["small@0 linear"]["accuracy"]["mean"] == pytest.approx(expected, abs=0.05)
    assert found["probes"]["noise linear"]["accuracy"]["mean"] < 0.5
    assert (found["metric"], found["train"], found["test"]) == ("macro_f1", 200, 100)
    assert set(found["probes"]) == {"small@0 linear", "small@0 mlp", "noise linear", "noise mlp"}


def test_a_seed_gives_the_same_again_and_another_seed_something_else() -> None:
    one, again, other = (scores_of(QUESTION, INPUTS, seed) for seed in (1, 1, 2))
    for probe, scores in one.items():
        assert scores.shape == (100, 3)
        np.testing.assert_array_equal(scores, again[probe])
        assert not np.array_equal(scores, other[probe])


def test_what_an_input_gives_does_not_depend_on_the_others() -> None:
    """But for the first weights, which are drawn one after the other: the first input's are the same."""
    linear = replace(QUESTION, hidden=0)
    both, alone = scores_of(linear, INPUTS, 3), scores_of(linear, {"small@0": INPUTS["small@0"]}, 3)
    assert set(both) == {"small@0 linear", "noise linear"}
    assert both["small@0 linear"].shape == alone["small@0 linear"].shape
    agree = np.mean(both["small@0 linear"].argmax(1) == alone["small@0 linear"].argmax(1))
    assert agree > 0.9


def test_test_rows_teach_nothing() -> None:
    """Other targets of the test rows, and other features there, leave the probes as they are."""
    changed = CLASSES.copy()
    changed[200:] = 0
    rows = np.arange(200, 250)
    first = scores_of(replace(QUESTION, test=rows), INPUTS, 0)
    inputs = {name: values.copy() for name, values in INPUTS.items()}
    for values in inputs.values():
        values[250:] = 9
    second = scores_of(replace(QUESTION, test=rows, targets=changed), inputs, 0)
    for probe in first:
        np.testing.assert_array_equal(first[probe], second[probe])


def test_terms_are_no_less_likely_than_their_descendants() -> None:
    targets = np.stack([CLASSES < 2, CLASSES == 0], axis=1).astype(np.float32)
    targets[:, 0] = 1  # every protein has a term
    ancestors = np.array([[True, False], [True, True]])
    question = replace(QUESTION, kind="multilabel", targets=targets, outputs=2, ancestors=ancestors)
    found = compare(question, INPUTS, 1)
    assert found["metric"] == "fmax"
    assert found["probes"]["small@0 linear"]["fmax"]["mean"] > 0.8


def test_the_spread_is_that_of_the_seeds() -> None:
    found = summary([{"a": 1.0}, {"a": 2.0}, {"a": 3.0}])
    assert found == {"a": {"mean": 2.0, "sd": 1.0}}
    assert summary([{"a": 1.0}]) == {"a": {"mean": 1.0, "sd": 0.0}}


def _probes(**values: tuple[float, float]) -> dict[str, dict[str, dict[str, float]]]:
    return {f"{name} linear": {"m": {"mean": mean, "sd": sd}} for name, (mean, sd) in values.items()}


def test_above_means_by_more_than_the_larger_spread_and_than_every_control() -> None:
    found = _probes(small=(0.50, 0.01), composition=(0.30, 0.10), untrained=(0.45, 0.04))
    assert verdict(found, "m", "small", ["composition", "untrained"])["linear"] == {
        "margin": pytest.approx(0.05), "spread": 0.04, "above": True,
    }  # fmt: skip
    found["small linear"]["m"]["mean"] = 0.48
    assert verdict(found, "m", "small", ["composition", "untrained"])["linear"]["above"] is False
    assert verdict(found, "m", "small", ["composition"])["linear"]["above"] is True


def test_the_table_has_a_row_for_each_task_and_input() -> None:
    tasks = {"loc": {"metric": "m", "probes": _probes(small=(0.5, 0.01), composition=(0.3, 0.1))}}
    lines = list(table_lines(tasks, {"chance": 0.1}))
    assert lines[2] == "| loc | small | 0.500 ± 0.010 |  | m |"
    assert lines[3] == "| loc | composition | 0.300 ± 0.100 |  | m |"
    assert lines[4] == "| same family | chance | 0.100 |  | share of nearest neighbours |"
    assert len(lines) == 5


def test_families_beside_chance() -> None:
    shares = family_shares({"small@0": np.eye(4)[[0, 0, 1, 1]], "flat": np.ones((4, 2))}, ["a", "a", "b", "b"])
    assert shares == {"chance": pytest.approx(1 / 3), "small@0": 1.0, "flat": pytest.approx(1 / 3)}
