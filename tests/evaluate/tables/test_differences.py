"""Verdicts: a difference is one only if neither the choice of proteins nor the seeds explain it."""

from __future__ import annotations

import pyarrow as pa
import pytest

from protea_ray.evaluate.tables.differences import BETTER, SEEDS, TIE, UNKNOWN, WORSE, differences
from tests.evaluate.tables import made

SECOND = made.second_layer()


def rows(values: dict[made.Given, float], spread: float = 0.0001, **options: object) -> pa.Table:
    metrics = {given: {"macro_f1": value} for given, value in values.items()}
    options = {"probes": ["linear"], "shift": lambda probe, subset, seed: spread * (seed - 2), **options}
    return made.rows("localization", "classification", metrics, **options)  # type: ignore[arg-type]


def verdicts(table: pa.Table, baseline: str | None = None) -> dict[tuple[str, str], str]:
    return {(v.one.name, v.other.name): v.verdict for v in differences(table, baseline).values}


def test_each_subject_is_set_beside_its_control_and_every_other_subject() -> None:
    table = rows({made.SMALL: 0.45, SECOND: 0.47, made.UNTRAINED: 0.33, made.COMPOSITION: 0.3, made.RANDOM: 0.1})
    assert verdicts(table) == {
        (made.SMALL.name, made.UNTRAINED.name): BETTER,
        (SECOND.name, made.UNTRAINED.name): BETTER,
        (made.SMALL.name, SECOND.name): WORSE,
    }
    assert verdicts(table, "composition") == {
        (made.SMALL.name, "composition"): BETTER,
        (SECOND.name, "composition"): BETTER,
        (made.UNTRAINED.name, "composition"): BETTER,
        ("random 320", "composition"): WORSE,
    }


@pytest.mark.parametrize(("above", "verdict"), [(0.02, BETTER), (-0.02, WORSE), (0.002, TIE), (-0.002, TIE), (0, TIE)])
def test_the_verdict_is_where_the_paired_interval_lies(above: float, verdict: str) -> None:
    """Each alone has an interval of 0.08; the paired one is 0.011 wide, so 0.02 is told apart and 0.002 is not."""
    assert verdicts(rows({made.SMALL: 0.45 + above, SECOND: 0.45})) == {(made.SMALL.name, SECOND.name): verdict}


@pytest.mark.parametrize(("spread", "verdict"), [(0.013, BETTER), (0.015, SEEDS)])
def test_a_difference_that_other_seeds_might_turn_round_is_none(spread: float, verdict: str) -> None:
    """Both standard deviations are sqrt(2.5) spread, so two standard errors are 2 spread: 0.026 and 0.030."""
    assert verdicts(rows({made.SMALL: 0.478, SECOND: 0.45}, spread)) == {(made.SMALL.name, SECOND.name): verdict}


def test_one_seed_is_judged_by_its_interval_and_no_draws_by_nothing() -> None:
    once = rows({made.SMALL: 0.47, SECOND: 0.45}, seeds=[0])
    assert list(verdicts(once).values()) == [BETTER]
    bare = pa.Table.from_pylist([{**row, "resampled": []} for row in once.to_pylist()], once.schema)
    assert list(verdicts(bare).values()) == [UNKNOWN]
    assert differences(bare).rows()[0][5:] == ["+0.020", "-", "not judged: no interval"]


def test_how_many_comparisons_were_made_is_said() -> None:
    found = differences(rows({made.SMALL: 0.47, SECOND: 0.45, made.COMPOSITION: 0.449}, probes=["linear", "mlp"]))
    assert found.facts()[1].startswith("6 comparisons, 4 told apart; of 6 true ties about 0.3 would be told apart by")
    assert found.to_json()["comparisons"] == 6


def test_noise_is_warned_of_beside_the_verdicts() -> None:
    found = differences(rows({made.SMALL: 0.1, made.RANDOM: 0.1}))
    assert found.facts()[-1].startswith("warning: localization, linear: small-1a2b3c4d, the best, is less than 3")
