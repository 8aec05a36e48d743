"""A run whose numbers do not add up is never reported as finished."""

from __future__ import annotations

import pytest

from protea_ray.errors import AccountingError
from protea_ray.pipeline.accounting import account
from protea_ray.plan.delta import Counts

PLANNED = [Counts(records=10, already_present=3, duplicate=2, rejected=1, wanted=4)]


def test_every_record_has_one_place() -> None:
    (count,) = account(12, 2, ["space"], PLANNED, {"space": 3}, {"space": 1})

    assert (count.stored, count.duplicate, count.rejected, count.already_present) == (3, 2, 4, 3)


@pytest.mark.parametrize("stored", [2, 4])
def test_a_lost_or_doubled_row_is_an_error(stored: int) -> None:
    with pytest.raises(AccountingError, match=r"12 in, but .* = 1[13]"):
        account(12, 2, ["space"], PLANNED, {"space": stored}, {"space": 1})
