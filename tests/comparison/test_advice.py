"""What is said to a user, for made rows of every verdict."""

from __future__ import annotations

import math

import pytest

from protea_ray.comparison.advice import advice
from protea_ray.comparison.compared_rows import LossRow
from protea_ray.comparison.variant_cost import CostRow
from protea_ray.comparison.variant_verdicts import Kind, over_proteins, verdicts
from tests.comparison import made_rows as made


def _verdict(*differences: float, **more: object):
    rows = made.losses("x", *differences, **more)  # type: ignore[arg-type]
    return next(found for found in verdicts(made.measured(rows)) if found.variant == "x")


@pytest.mark.parametrize(
    ("differences", "error", "kind"),
    [
        ((0.0, 0.0, -0.05, -0.05), 0.005, "better"),
        ((0.0, 0.0, -0.05, -0.05), 0.05, "unclear"),  # two standard errors: 0.07 over two bins
        ((0.0, 0.0, -0.01, -0.01), 0.001, "as good"),  # surely lower, but by less than matters
        ((0.0, 0.0, 0.01, 0.01), 0.001, "as good"),
        ((0.0, 0.0, 0.01, 0.01), 0.02, "unclear"),
        ((0.0, 0.0, 0.05, 0.05), 0.005, "worse"),
        ((0.0, 0.0, -0.30, 0.05), 0.005, "worse"),  # on average better, and worse for the longest
        ((0.05, 0.05, 0.0, 0.0), 0.001, "worse"),  # the short ones pay, and the long ones gain nothing
        ((0.05, 0.05, -0.05, -0.05), 0.001, "better"),
    ],
)
def test_the_verdict_of_a_difference(differences: tuple[float, ...], error: float, kind: Kind) -> None:
    assert _verdict(*differences, error=error).kind == kind


def test_the_verdict_needs_proteins_and_all_their_residues() -> None:
    assert _verdict(-0.5, proteins=4).kind == "few"
    cut = _verdict(-0.5, targets=made.TARGETS // 4)
    assert (cut.kind, cut.cut) == ("cuts", 0.75)
    assert _verdict(-0.5, bins=made.SHORT).kind == "not measured"


def test_bins_together_are_the_mean_over_proteins() -> None:
    """Against the mean and standard error of all proteins at once, whose bins have means and errors of their own."""
    each = {1022: [0.1, 0.3, 0.2, 0.6], 2048: [0.5, -0.1]}
    rows = []
    for bin, values in each.items():
        mean = sum(values) / len(values)
        error = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))
        rows.append(LossRow("x", bin, len(values), 9, 2.0, 0.1, mean, error))
    found = over_proteins(rows)
    assert found is not None
    assert (found.proteins, found.nats) == (6, pytest.approx(sum(map(sum, each.values())) / 6))
    errors = [row.difference_se or 0.0 for row in rows]
    assert found.standard_error == pytest.approx(math.hypot(4 / 6 * errors[0], 2 / 6 * errors[1]))
    assert over_proteins([*rows, LossRow("x", 4096, 1, 9, 2.0, None, 0.1, None)]) is None


def test_something_better_is_recommended_with_its_numbers() -> None:
    said = advice(
        made.measured(
            made.losses("exact", 0.0, 0.0, -0.03, 0.4), made.losses("local:512", 0.0, 0.0, -0.09, -0.05),
            made.losses("global:512", 0.0, 0.0, -0.04, -0.04), made.costs("local:512", 60.0, 520.0),
            made.pooled("local:512", 0.981, 0.92),
        )
    )  # fmt: skip
    assert said.startswith(
        "For proteins over 1,022 residues with small, use local:512 (attention: local:512): its masked loss on 100 "
        "such proteins is 0.070 ± 0.004 nats below that of windows, the default (± standard error); at 32,768 residues "
        "it takes 1.5 times the time and 2 times the memory; on shorter proteins its pooled vectors have a centred "
        "cosine of 0.981 to exact attention and keep 92% of the 10 nearest neighbours."
    )  # fmt: skip
    assert "Better than windows too: global:512 (-0.040 ± 0.004 nats)." in said
    assert "exact gains up to 2,048 residues and loses up to 8,192 (+0.185 ± 0.004 nats)" in said
    assert "stays the default" not in said
    assert "protea-ray evaluate" in said


def test_where_nothing_is_better_the_default_stays() -> None:
    said = advice(
        made.measured(
            made.losses("exact", 0.1), made.losses("favor:128,0", 2.0), made.losses("int8", 0.002, error=0.001),
            made.losses("int4", 0.004, error=0.001), made.losses("yarn", 0.0, error=0.03),
            made.losses("truncate", 0.0, targets=made.TARGETS // 2),
            made.costs("int8", 20.0, 10.0), made.costs("int4", 90.0, 10.0),
        )
    )  # fmt: skip
    assert said.startswith(
        "For proteins over 1,022 residues with small, windows with stitching stays the default: on 100 such proteins "
        "no variant has a masked loss that is lower by 0.02 nats or more and by more than 2 standard errors."
    )
    assert "and cheaper: int8 (+0.002 ± 0.001 nats; at 32,768 residues it takes 0.5 times the time" in said
    assert "but no cheaper: int4 (+0.004 ± 0.001 nats)." in said
    assert "Do not use favor:128,0 (+2.000 ± 0.004 nats), exact (+0.100 ± 0.004 nats): worse than windows." in said
    assert "truncate leaves out 50% of the masked residues of such proteins." in said
    assert "More proteins are needed to judge yarn (+0.000 ± 0.021 nats)." in said
    assert "Not measured: nearness to exact attention." in said


def test_what_short_proteins_lose_is_said() -> None:
    said = advice(
        made.measured(made.losses("local:512", 0.08, 0.06, -0.2, -0.1), made.losses("linear", 0.1, 0.1, 0, 0))
    )
    assert "stays the default" in said
    assert "standard errors without losing on shorter ones." in said
    assert "local:512 is for a space of long proteins alone (-0.150 ± 0.004 nats)" in said
    assert "it loses +0.070 ± 0.004 nats" in said
    assert "Do not use linear (+0.100 ± 0.004 nats on shorter proteins)" in said


def test_a_cost_that_is_not_known_is_said() -> None:
    given = made.measured(
        made.losses("local:512", -0.1), made.costs("local:512", 60.0, 520.0),
        (CostRow("local:512", 35_213, "cpu", why="the system killed the process"),),
    )  # fmt: skip
    assert "Its cost at 35,213 residues is not known: the system killed the process." in advice(given)


def test_without_losses_of_long_proteins_nothing_is_told() -> None:
    for rows in (made.losses("exact", 0.1, bins=made.SHORT), made.pooled("exact", 1.0, 1.0)):
        said = advice(made.measured(rows))
        assert "cannot be told from this comparison" in said
        assert "Windows with stitching stays the default" in said
        assert "Do not use" not in said
    assert "Not measured: masked loss, cost." in advice(made.measured(made.pooled("exact", 1.0, 1.0)))


def test_relative_positions_have_no_default_to_beat() -> None:
    said = advice(made.measured(made.pooled("int8", 1.0, 1.0), trained=None))
    assert said.startswith("small has relative positions and no trained length")


def test_a_variant_without_a_row_is_named() -> None:
    """made_rows gives fields for local:512: it was asked for, and has no loss."""
    said = advice(made.measured(made.losses("exact", 0.1)))
    assert "No masked loss was measured past the trained length of local:512." in said
