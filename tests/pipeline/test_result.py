"""What a notebook shows of a re-embedding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from protea_ray.pipeline.reembed import Reembedded


class Accounting:
    """Stands for a summary, which has tests of its own."""

    def __repr__(self) -> str:
        return "the accounting"


def test_a_reembedding_says_what_became_of_the_alias() -> None:
    summary: Any = Accounting()
    moved = Reembedded(summary, "current", before="a-1", after="b-2", moved=True, accepted=None, stays=None)
    assert repr(moved) == "the accounting\ncurrent moved from a-1 to b-2"
    stays = replace(moved, moved=False, stays="3 proteins are missing")
    assert repr(stays) == "the accounting\ncurrent points to a-1: 3 proteins are missing"
