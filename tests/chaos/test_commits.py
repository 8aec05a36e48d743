"""Row 5: the store takes a commit and its answer never comes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import stores
from tests.chaos import runs
from tests.chaos.rows import Ledger
from tests.chaos.runs import Head

pytestmark = [pytest.mark.chaos, pytest.mark.row(5)]

COMMIT = {"module": "lance", "attribute": "LanceDataset.commit", "when": "after", "every": 2}


def test_every_second_answer_is_lost_and_a_compaction_comes_in_between(
    head: Head, reference: Path, tmp_path: Path, ledger: Ledger
) -> None:
    """Of all tables, and of the space with a compaction, which rewrites the files that the commit named."""
    store, told = tmp_path / "store", tmp_path / "told"
    table = store / stores.space(reference).name
    faults = [
        {**COMMIT, "do": "compact_and_lose_answer", "match": table.name, "table": str(table), "told": str(told)},
        {**COMMIT, "do": "lose_answer", "told": str(told)},
    ]
    with ledger.row(5, "the answer of every second commit, a compaction before it is missed") as row:
        runs.finish(head.driver(store, faults=faults), store)
        row.times = len(told.read_text().splitlines())
        row.expected = len(stores.vectors(reference))
        row.found = runs.assert_same(store, reference)
        row.redone = runs.redone(table) if not compacted(table) else 0
    summary = json.loads(next(line for line in runs.log_of(store).splitlines() if line.startswith('{"in"')))
    assert summary["stored"] == row.expected
    assert row.times >= 10
    assert compacted(table)


def compacted(table: Path) -> bool:
    """Whether any version is a compaction's."""
    import lance

    found = lance.dataset(str(table))
    operations = [found.read_transaction(v["version"]) for v in found.versions()]
    return any("Rewrite" in type(t.operation).__name__ for t in operations if t is not None)
