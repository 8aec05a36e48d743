"""What the report reads of a store: every protein in a bin, every reject in a group, every run a row."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import protea_ray
from protea_ray.query.reject_groups import EXAMPLES, LONGEST_TEXT, read_reject_groups
from protea_ray.query.rejected import counts_of
from protea_ray.query.run_facts import run_facts
from protea_ray.query.store_facts import MOST_BINS, length_bins, read_store_facts
from protea_ray.sequences.records import REASON_MEANINGS, REJECTS_SCHEMA, Reason
from protea_ray.store.spaces import ensure_space
from tests.query.test_rejected import embedding, reject
from tests.store import build

SPACE = "esm2-00000001"


@pytest.mark.parametrize(
    "lengths",
    [[1], [5, 5, 5], [100, 140, 471], list(range(30, 600)), [2, 35_213], [1, 1_000_000], [0, 3], [999, 1000]],
)
def test_every_protein_is_in_one_bin(lengths: list[int]) -> None:
    values, counts = np.unique(np.array(lengths, np.int64), return_counts=True)
    bins = length_bins(values, counts)
    assert sum(found.proteins for found in bins) == len(lengths)
    assert len(bins) <= 2 * MOST_BINS
    for before, after in itertools.pairwise(bins):
        assert before.last is not None and after.first == before.last + 1
    for found in bins:
        assert found.last is not None and found.first <= found.last
        inside = sum(found.first <= length <= found.last for length in lengths)
        assert inside == found.proteins


def test_a_store_of_nothing_has_no_bins(tmp_path: Path) -> None:
    assert length_bins(np.zeros(0, np.int64), np.zeros(0, np.int64)) == ()
    facts = read_store_facts(build.store(tmp_path / "s", []))
    assert (facts.proteins, facts.residues, facts.lengths, facts.rejects) == (0, 0, (), ())


@pytest.fixture
def rejecting(tmp_path: Path) -> Any:
    """Protein 3 was rejected and stored later, 5 twice, 6 in two spaces, and 40 records while they were read."""
    location = build.store(tmp_path / "s", range(5))
    build.ingest(location, build.proteins([5, 6, 7], "b.fasta#2"), "b.fasta#2", "d2")
    ensure_space(location, build.info("other"), build.schema())
    rows = [embedding(3), embedding(5, reason="out_of_memory"), embedding(5, attempts=2), embedding(6),
            embedding(6, "other"), *(reject(line=n, reason="empty_sequence", id="<b>" * n) for n in range(1, 41)),
            reject(line=99, id="x" * 5000, detail="d" * 5000)]  # fmt: skip
    for part in (rows[:2], rows[2:]):  # two runs: the table is read in two batches
        build.writer().append_table(location.table("rejects"), pa.Table.from_pylist(part, REJECTS_SCHEMA))
    return location


def test_groups_count_what_the_list_of_rejects_has(rejecting: Any) -> None:
    groups = read_reject_groups(rejecting)
    listed = protea_ray.open_store(rejecting.uri).rejects()
    assert {group.reason: group.count for group in groups} == counts_of(listed)
    assert {group.reason: group.count for group in groups} == {
        "empty_sequence": 40, "too_long": 3, "illegal_letter": 1
    }  # fmt: skip
    assert [group.count for group in groups] == sorted((group.count for group in groups), reverse=True)


def test_examples_say_file_and_line_and_are_cut(rejecting: Any) -> None:
    groups = {group.reason: group for group in read_reject_groups(rejecting)}
    assert len(groups["empty_sequence"].examples) == EXAMPLES
    assert [e.line for e in groups["empty_sequence"].examples] == list(range(1, EXAMPLES + 1))
    assert groups["empty_sequence"].examples[1].id == "<b><b>"
    (long,) = groups["illegal_letter"].examples
    assert len(long.id) == len(long.detail) == LONGEST_TEXT
    assert long.id.endswith("…")
    files = {e.file for e in groups["too_long"].examples}
    assert files == {row["file"] for row in protea_ray.open_store(rejecting.uri).rejects(reason="too_long").to_pylist()}


def test_every_reason_has_a_meaning() -> None:
    assert set(REASON_MEANINGS) == set(Reason)


def test_a_run_of_an_earlier_release_has_nothing_that_it_did_not_record() -> None:
    counts = {"stored": 3, "duplicate": 1, "rejected": 0, "already_present": 0}
    summary = {"in": 4, "seconds": 2.5, "model": "m", "spaces": [{"space": "s", **counts}], **counts, "space": "s"}
    facts = run_facts({"run": "r", "kind": "embed", "finished": None, "summary": summary})
    assert (facts.rate, facts.stages, facts.packing, facts.peak_memory) == ((), (), None, {})
    assert facts.residues is None
    (flow,) = facts.flows
    assert (flow.records, flow.stored, flow.duplicate) == (4, 3, 1)


@pytest.mark.parametrize(
    ("kind", "summary"),
    [
        ("forget", {"sources": ["a"], "proteins": 3, "vectors": {"s": 3}, "dry_run": False}),
        ("interrupted", {"wanted": 9, "spaces": [{"space": "s", "stored": 1, "rejected": 0}], "residues": 5}),
        ("import", {}),
    ],
)
def test_runs_that_account_for_no_records_have_no_flow(kind: str, summary: dict[str, Any]) -> None:
    assert run_facts({"run": "r", "kind": kind, "finished": None, "summary": summary}).flows == ()


@pytest.mark.usefixtures("cluster")
def test_the_record_of_a_run_adds_up(tmp_path: Path, esm2: Path) -> None:
    fasta = tmp_path / "a.fasta"
    fasta.write_text(
        "".join(f">p{n}\n{'MKTAYIAKQR' * (n + 1)}\n" for n in range(30)) + ">bad\nMK-1\n>twin\nMKTAYIAKQR\n"
    )
    store = tmp_path / "s"
    summary = protea_ray.embed(str(fasta), str(store), model=str(esm2), max_residues=300)
    again = fasta.with_name("b.fasta")
    again.write_text(fasta.read_text() + ">more\nMKV\n")
    protea_ray.embed(str(again), str(store), model=str(esm2), max_residues=300)
    facts = read_store_facts(build.open_location(str(store)))
    first, second = facts.runs
    assert [(flow.records, flow.stored, flow.duplicate, flow.rejected, flow.already_present)
            for flow in (*first.flows, *second.flows)] == [(32, 30, 1, 1, 0), (33, 1, 0, 1, 31)]  # fmt: skip
    assert first.packing is not None and first.packing.residues == first.residues == summary.residues
    assert first.packing.tokens == sum(10 * (n + 1) + 2 for n in range(30))  # two special tokens a protein
    line = first.rate
    spread = sum(b.residues_per_second * (b.seconds - a.seconds) for a, b in itertools.pairwise(line))
    assert spread == pytest.approx(first.residues, rel=0.02)  # rates are kept to a tenth of a residue/s
    assert [stage.name for stage in first.stages] == [
        "inputs", "checkpoint", "ray", "ingest", "delta", "calibration", "units", "actors", "embedding", "accounting"
    ]  # fmt: skip
    ends = [stage.begins + stage.seconds for stage in first.stages]
    assert all(
        begin.begins == pytest.approx(end, abs=0.002) for begin, end in zip(first.stages[1:], ends, strict=False)
    )
    assert ends[-1] <= (first.seconds or 0) + 0.01
    assert first.peak_memory["driver"] > 50e6 and first.peak_memory["actor"] > 50e6
    assert first.config["recipes"][0]["max_residues"] == 300
    assert first.digests and first.versions["protea-ray"] == protea_ray.__version__
    assert facts.proteins == 65 - 2 and facts.longest == 300
