"""Rows 7 and 8: proteins that kill the encoder's process, and memory that runs out."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pytest

from tests import stores
from tests.chaos import runs
from tests.chaos.faults import Fault, memory
from tests.chaos.rows import Ledger
from tests.chaos.runs import Bench, Head

ENCODER = {"module": "protea_ray.encoder.encoder", "attribute": "Encoder.embed"}
GIB = 1 << 30
HOG, MARGIN, SPARE = 9 * GIB, 5 * GIB, 11 * GIB  # other tests run beside this one, and this run itself takes 1.5


def poison(sequence: str, do: str, **more: Any) -> Fault:
    """Dies whenever this protein is embedded, alone or in company."""
    return {**ENCODER, "match": sequence, "do": do, **more}


def letters(store: Path, *ids: str) -> dict[str, str]:
    rows = lance.dataset(str(store / "proteins.lance")).to_table(columns=["id", "sequence"]).to_pylist()
    found = {row["id"]: row["sequence"] for row in rows}
    return {id: found[id] for id in ids or found}


def embedding_rejects(store: Path) -> dict[str, dict[str, Any]]:
    """By id; fails on a protein that was rejected twice."""
    table = lance.dataset(str(store / "rejects.lance")).to_table(filter="stage = 'embed'").to_pylist()
    found = {row["id"]: row for row in table}
    assert len(found) == len(table)
    return found


def assert_all_but(store: Path, reference: Path, *gone: str) -> int:
    """Everyone else is stored once, with the vector of an undisturbed run."""
    keys = {row["id"]: row["key"] for row in rows_of(reference)}
    found, expected = stores.vectors(store), stores.vectors(reference)
    for id in gone:
        del expected[keys[id]]
    assert found.keys() == expected.keys()
    for key, vector in expected.items():
        np.testing.assert_array_equal(found[key], vector)
    return len(found)


def rows_of(store: Path) -> list[dict[str, Any]]:
    return lance.dataset(str(store / "proteins.lance")).to_table(columns=["id", "key"]).to_pylist()


@pytest.mark.chaos
@pytest.mark.row(7)
def test_one_protein_exits_and_another_one_crashes(head: Head, reference: Path, tmp_path: Path, ledger: Ledger) -> None:
    """In units that others share: nobody but these two is rejected, with reason and attempts."""
    store, told = tmp_path / "store", tmp_path / "told"
    exits, crashes = sorted(letters(reference))[20], sorted(letters(reference))[90]
    known = letters(reference)
    faults = [
        poison(known[exits], "exit", told=str(told)),
        poison(known[crashes], "segfault", told=str(told)),
    ]
    with ledger.row(7, "os._exit on one protein, a segfault on another") as row:
        runs.finish(head.driver(store, worker_faults=faults), store)
        rejected = embedding_rejects(store)
        row.times, row.expected = len(told.read_text().splitlines()), len(stores.vectors(reference)) - 2
        row.found = assert_all_but(store, reference, exits, crashes)
        row.redone = runs.redone(stores.space(store))
    assert set(rejected) == {exits, crashes}
    assert {r["reason"] for r in rejected.values()} == {"kills_worker"}
    assert all(r["attempts"] >= 4 for r in rejected.values())
    again = head.embed(store)
    assert (again["stored"], again["rejected"]) == (0, runs.REJECTS + 2)


@pytest.mark.chaos
@pytest.mark.row(7)
def test_one_protein_takes_all_memory(bench: Bench, reference: Path, tmp_path: Path, ledger: Ledger) -> None:
    """Ray's memory monitor kills a worker; which one is its choice, and still only the culprit is rejected."""
    total, available = memory()
    if available < SPARE:
        pytest.skip(f"{available / GIB:.0f} GiB of memory are free, {SPARE / GIB:.0f} are needed")
    store, told = tmp_path / "store", tmp_path / "told"
    hog = sorted(letters(reference))[40]
    limit = (total - available + MARGIN) / total
    watched = {"RAY_memory_usage_threshold": f"{limit:.3f}", "RAY_memory_monitor_refresh_ms": "100"}
    fault = poison(letters(reference)[hog], "hog", leave=available - HOG, told=str(told))
    with ledger.row(7, f"a protein that takes {HOG / GIB:.0f} GiB where {MARGIN / GIB:.0f} are allowed") as row:
        environment = bench.environment(toy=True, faults=[fault], **watched)
        runs.finish(runs.start(bench.arguments(store), store, environment), store)
        rejected = embedding_rejects(store)
        row.times, row.expected = len(told.read_text().splitlines()), len(stores.vectors(reference)) - 1
        row.found = assert_all_but(store, reference, hog)
        row.redone = runs.redone(stores.space(store))
    assert set(rejected) == {hog}
    assert rejected[hog]["reason"] == "kills_worker"
    assert rejected[hog]["attempts"] <= 6  # four, unless a kill that was meant for it struck another unit


FITS = 1500  # tokens


@pytest.mark.chaos
@pytest.mark.row(8)
@pytest.mark.xdist_group("real")
def test_memory_runs_out_above_so_many_tokens(
    bench: Bench, real_reference: Path, tmp_path: Path, ledger: Ledger, record_property: Callable[[str, object], None]
) -> None:
    """The real encoder in a whole run, the error raised by the suite: the longest protein still fits alone."""
    store, told = tmp_path / "store", tmp_path / "told"
    fault = {
        "module": "protea_ray.encoder.batch", "attribute": "run", "do": "out_of_memory", "above_tokens": FITS,
        "told": str(told),
    }  # fmt: skip
    large = ("--token-budget", 16_000, "--set", "run.unit_seconds=10")  # whole windows of 64, however slow the machine
    with ledger.row(8, f"torch.OutOfMemoryError above {FITS} tokens, simulated on the CPU") as row:
        process = runs.start(bench.arguments(store, *large), store, bench.environment(toy=False, faults=[fault]))
        runs.finish(process, store)
        assert embedding_rejects(store) == {}
        row.times, row.expected = len(told.read_text().splitlines()), len(stores.vectors(real_reference))
        row.found = runs.assert_same(store, real_reference, atol=1e-5)
        share = throughput(bench)  # told, not asserted: it measures the machine as well
        record_property("throughput_of_tuned", round(share, 3))
        row.notes.append(f"throughput afterwards {share:.2f} of tuned")
    per_actor = [line.split()[0] for line in told.read_text().splitlines()]
    assert max(per_actor.count(pid) for pid in set(per_actor)) <= 4  # 16,000 halves to 1,000 in four steps, once


def throughput(bench: Bench) -> float:
    """Residues per second of an encoder that found its budget by running out of memory, over one that was given it."""
    import torch

    from protea_ray.encoder import batch

    real = batch.run

    def run(core: Any, plans: Any, windows: Any) -> Any:
        if sum(len(w.ids) for w in windows) > FITS:
            raise torch.OutOfMemoryError("said the chaos suite")
        return real(core, plans, windows)

    sequences = list(letters_of(bench.proteins))
    torch.set_num_threads(1)
    batch.run = run
    try:
        halved = encoder(bench, 16_000)
        list(halved.embed(sequences))  # finds its budget
        assert halved.token_budget >= FITS // 2
        tuned = encoder(bench, FITS)
        list(tuned.embed(sequences))
        pairs = [(seconds(tuned, sequences), seconds(halved, sequences)) for _ in range(5)]
    finally:
        batch.run = real
    return float(np.median([own / other for own, other in pairs]))


def encoder(bench: Bench, budget: int) -> Any:
    from protea_ray.config.recipe import embedding_config
    from protea_ray.config.resolution import resolve
    from protea_ray.encoder.encoder import Encoder
    from protea_ray.models.checkpoint import open_checkpoint, read_config
    from protea_ray.models.families import recognise

    found = open_checkpoint(str(bench.model))
    recipe = resolve(embedding_config({"model": str(bench.model)}), found.facts, "cpu", None)
    family = recognise(read_config(bench.model), bench.model)
    return Encoder.load(bench.model, family, [recipe], token_budget=budget)


def seconds(encoder: Any, sequences: list[str]) -> float:
    began = time.perf_counter()
    list(encoder.embed(sequences))
    return time.perf_counter() - began


def letters_of(fasta: Path) -> list[str]:
    records = fasta.read_text().split(">")[1:]
    found = ["".join(r.splitlines()[1:]) for r in records]
    return [s for s in found if "-" not in s]


@pytest.mark.chaos
@pytest.mark.row(8)
def test_memory_of_a_gpu_runs_out() -> None:
    """For real; the GPU's tests of the encoder have it."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no GPU here, so its memory cannot run out for real")
    pytest.skip("a GPU is here, but this row has no test for it yet")
