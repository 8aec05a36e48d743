"""A run's record is small however long the run, and holds no secret."""

from __future__ import annotations

import json

import pytest

from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.config.run import RunOptions
from protea_ray.pipeline.loop import Tally
from protea_ray.pipeline.run_record import MOST_INPUTS, run_record

RECIPE = EmbeddingConfig.model_validate({"model": "m"})
FILES = {"config.json": "0" * 64, "model.safetensors": "1" * 64, "vocab.txt": "2" * 64}


def test_the_record_of_a_week_of_many_inputs_is_of_bounded_size() -> None:
    tally = Tally.of(["s"])
    for unit in range(7 * 24 * 3600 // 20):
        tally.timeline.add(1e9 + 20 * unit, 20.0, 123_456)
    inputs = [f"/data/proteomes/UP{n:09d}.fasta.gz" for n in range(100_000)]
    record = run_record([RECIPE], RunOptions(), FILES, tally, 1e9 - 15, inputs)
    assert record["config"]["inputs"] == inputs[:MOST_INPUTS]
    assert record["config"]["inputs_given"] == len(inputs)
    assert len(json.dumps(record)) < 12_000  # bytes


@pytest.mark.parametrize(
    ("given", "recorded"),
    [
        ("https://host/a.fasta?X-Amz-Signature=secret", "https://host/a.fasta"),
        ("http://host/a.fasta#secret", "http://host/a.fasta"),
        ("s3://bucket/a?.fasta", "s3://bucket/a?.fasta"),
        ("/data/a?.fasta", "/data/a?.fasta"),
        ("-", "-"),
    ],
)
def test_an_input_is_recorded_without_its_signature(given: str, recorded: str) -> None:
    record = run_record([RECIPE], RunOptions(), FILES, Tally.of(["s"]), 0.0, [given])
    assert record["config"]["inputs"] == [recorded]


def test_where_the_cluster_is_stays_out_of_the_record() -> None:
    record = run_record([RECIPE], RunOptions(address="ray://secret-host:10001"), FILES, Tally.of(["s"]), 0.0)
    assert "secret-host" not in json.dumps(record)


def test_each_of_several_recipes_has_a_digest() -> None:
    recipes = [RECIPE, RECIPE.model_copy(update={"pooling": ("max",)})]
    digests = run_record(recipes, RunOptions(), FILES, Tally.of(["s"]), 0.0)["digests"]
    assert FILES.items() <= digests.items()
    assert digests["recipe 1"] != digests["recipe 2"]


def test_what_was_not_measured_is_left_out() -> None:
    record = run_record([RECIPE], RunOptions(), FILES, Tally.of(["s"]), 0.0)
    assert (record["packing"], record["rate"]) == (None, [])
    assert record["peak_memory"].keys() == {"driver"}
