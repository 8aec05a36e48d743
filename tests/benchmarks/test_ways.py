"""The benchmark counts what it says it counts, and every way in it gives the same vectors; its rates are for people."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer import Typer
from typer.testing import CliRunner

from benchmarks.encoder.__main__ import compare, main, proteins_of, useful
from protea_ray.acceptance.measure import Seconds, extra_memory, interleaved
from protea_ray.acceptance.published_shapes import MODELS
from protea_ray.acceptance.ways import Way, ways
from protea_ray.models.checkpoint import open_checkpoint
from protea_ray.testing.random_checkpoint import build

SEQUENCES = ["MKTAYIAKQRQISFVKSHFSRQ", "GIVEQCCTSICSLYQLENYCN", "MK" * 40, "ACDEFGHIKLMNPQRSTVWY"]


def test_padding_is_counted_from_the_batches() -> None:
    way = Way("two at a time", "float32", lambda: lambda sequences: {}, lambda s: [list(s[:2]), list(s[2:])])
    # tokens with two special ones each: 24 + 23 in a batch of 2 x 24, 82 + 22 in one of 2 x 82
    assert way.padding(SEQUENCES) == pytest.approx(1 - (24 + 23 + 82 + 22) / (2 * 24 + 2 * 82))
    assert Way("packed", "float32", lambda: lambda sequences: {}).padding(SEQUENCES) == 0


def test_the_sorted_baseline_holds_its_budget_and_every_protein(tmp_path: Path) -> None:
    directory = build("esm2", tmp_path / "m")
    (sorted_way,) = [w for w in ways(directory, "cpu", ["float32"]) if "sorted" in w.name]
    assert sorted_way.batches is not None
    proteins = ["A" * n for n in (5, 900, 30, 1500, 2500, 31, 5)]
    batches = sorted_way.batches(proteins)
    assert sorted(s for batch in batches for s in batch) == sorted(proteins)
    assert all(len(b) == 1 or len(b) * (max(map(len, b)) + 2) <= 2048 for b in batches)


@pytest.mark.parametrize("family", ["esm2", "esmc", "t5", "ankh"])
def test_all_ways_give_the_same_vectors(family: str, tmp_path: Path) -> None:
    directory = build(family, tmp_path / "m")
    loaded: dict[str, Any] = {w.name: (w, w.load(), 0.0, 0.0) for w in ways(directory, "cpu", ["float32"])}
    assert len(loaded) >= 4
    records, peaks = compare(loaded, SEQUENCES, 1, directory, "cpu")
    assert peaks["float32"] > 1e9
    assert all(record["difference"] < 1e-5 for record in records)
    assert records[0]["difference"] == 0
    assert {record["residues"] for record in records} == {sum(map(len, SEQUENCES))}


def test_operations_of_esm2_by_hand(tmp_path: Path) -> None:
    directory = build("esm2", tmp_path / "m", layers=3, hidden=32, heads=4)
    tokens = [10 + 2, 50 + 2]
    by_hand = sum(3 * (24 * 32**2 * n + 4 * 32 * n**2) for n in tokens)
    assert useful(directory, [10, 50]) == pytest.approx(by_hand)


def test_repetitions_are_interleaved_and_the_median_is_taken() -> None:
    order: list[str] = []
    ticks = iter(range(100))

    def way(name: str) -> Any:
        return lambda: order.append(name) or float(next(ticks))

    seconds = interleaved({"a": way("a"), "b": way("b")}, 3)
    assert order == ["a", "b"] * 3
    assert seconds == {"a": (0.0, 2.0, 4.0), "b": (1.0, 3.0, 5.0)}
    assert Seconds(seconds["b"]).middle == 3.0
    assert Seconds(seconds["b"]).spread == pytest.approx(4 / 3)


def test_memory_is_what_one_call_adds() -> None:
    size = 64 << 20
    found = extra_memory(lambda: bytearray(size).count(1))
    if found is None:
        pytest.skip("this system does not let a process reset its peak")
    assert size * 0.9 < found < size * 1.5


def test_shapes_are_the_published_ones() -> None:
    # parameters of the layers, without embeddings and heads
    assert MODELS["650M"].layers * MODELS["650M"].parameters == pytest.approx(650e6, rel=0.01)
    assert MODELS["prott5-xl"].layers * MODELS["prott5-xl"].parameters == pytest.approx(1.21e9, rel=0.01)
    assert MODELS["650M"].depth(full=True) == 33
    assert all(2 <= m.depth(full=False) <= m.layers for m in MODELS.values())


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_shape_can_be_written(name: str, tmp_path: Path) -> None:
    small = replace(MODELS[name], layers=1, hidden=32, heads=4)
    assert open_checkpoint(str(small.write(tmp_path, full=True))).shape.layers == 1


def test_the_command_prints_tables_json_and_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    fasta, picture = tmp_path / "p.fasta", tmp_path / "bench.png"
    fasta.write_text("".join(f">p{i}\n{s}\n" for i, s in enumerate(SEQUENCES * 3)))
    app = Typer()
    app.command()(main)
    options = ["--model", str(build("esm2", tmp_path / "m")), "--fasta", str(fasta), "--repeats", "1", "--no-whole"]
    done = CliRunner().invoke(app, [*options, "--json", "--png", str(picture), "--proteins", "8"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.output.splitlines()[-1])
    assert {r["dtype"] for r in found["records"]} == {"float32", "bfloat16"}
    assert all(r["rate"] > 0 and r["load"] > 0 and r["first_use"] > 0 for r in found["records"])
    assert {(b["low"], b["high"]) for b in found["buckets"]} == {(1, 128)}
    assert picture.stat().st_size > 10_000


def test_proteins_are_read_once_each(tmp_path: Path) -> None:
    (tmp_path / "p.fasta").write_text("".join(f">p{i}\n{s}\n" for i, s in enumerate(SEQUENCES * 2)))
    assert proteins_of(str(tmp_path / "p.fasta")) == SEQUENCES
