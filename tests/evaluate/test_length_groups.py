"""Results by other lengths: which proteins they are of, and that stored cells of the usual lengths are found again."""

from __future__ import annotations

import numpy as np

from protea_ray.evaluate.metrics import measure
from protea_ray.evaluate.protocol import Protocol
from protea_ray.evaluate.tables.lengths import length_table
from tests.evaluate import made_tasks
from tests.evaluate.tables import made

ENDS = (254, 510)


def test_the_usual_lengths_are_the_protocol_of_results_stored_before_they_could_be_chosen() -> None:
    assert Protocol().digest == "82c8646a"
    assert Protocol(lengths=ENDS).digest not in {Protocol().digest, Protocol(lengths=(254, 511)).digest}


def test_a_task_is_measured_in_the_groups_that_were_asked_for() -> None:
    truth = np.array([0, 1, 2, 0, 1, 2], np.float64)
    task = made_tasks.task_of("regression", truth, lengths=(254, 255, 510, 511, 3000, 1))
    assert {name: np.flatnonzero(rows).tolist() for name, rows in task.subsets(ENDS).items()} == {
        "all": [0, 1, 2, 3, 4, 5], "without_relatives": [0, 1, 2, 3, 4, 5],
        "up_to_254": [0, 5], "255_to_510": [1, 2], "above_510": [3, 4],
    }  # fmt: skip
    found = {one.subset: one.count for one in measure(task, truth, 3, ENDS)}
    assert found == {"all": 6, "without_relatives": 6, "up_to_254": 2, "255_to_510": 2, "above_510": 2}


def test_the_draws_of_all_proteins_do_not_follow_from_the_groups() -> None:
    task, scores = made_tasks.numbers()
    usual, other = ({(m.subset, m.metric): m for m in measure(task, scores, 20, ends)} for ends in ((1022, 2046), ENDS))
    np.testing.assert_array_equal(usual["all", "r2"].resampled, other["all", "r2"].resampled)


def test_the_table_by_length_has_the_groups_of_its_rows_shortest_first() -> None:
    rows = made.rows(
        "go-mf", "multilabel", {made.SMALL: {"fmax": 0.3}},
        counts={"above_510": 40, "all": 100, "up_to_254": 25, "255_to_510": 35},
    )  # fmt: skip
    assert [row[2] for row in length_table(rows).rows()] == ["up to 254", "255 to 510", "above 510"]
    assert length_table(rows).facts()[-1].endswith("go-mf up to 254 (25)")
