"""The main job in this process: numbers, accounting, repetition, whatever the actors, order and neighbours."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protea_ray.cluster.progress import LineReporter
from protea_ray.config.run import run_config
from protea_ray.errors import ConfigError, InputError
from protea_ray.pipeline.accounting import Summary
from protea_ray.pipeline.embed import embed
from protea_ray.pipeline.worker import EncoderSpec
from protea_ray.sequences.synth import write_fasta
from tests import stores
from tests.plain import PlainEsm

pytestmark = pytest.mark.usefixtures("cluster")

SMALL_UNITS = {"unit_seconds": 0.05, "window_proteins": 64, "commit_units": 4}


Spec = Callable[..., EncoderSpec]


def run(
    inputs: list[Path],
    store: Path,
    model: Path,
    run: dict[str, Any] | None = None,
    spec: Spec = EncoderSpec,
    **recipe: Any,
) -> Summary:
    fields = {"model": str(model), "store_dtype": "float32", **recipe, "run": {**SMALL_UNITS, **(run or {})}}
    return embed([str(i) for i in inputs], str(store), run_config(fields), LineReporter(), spec)


@pytest.fixture(scope="module")
def proteins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "proteins.fasta"
    write_fasta(path, 200, seed=5)
    return path


@pytest.fixture(scope="module")
def embedded(proteins: Path, esm2: Path, spec: Spec, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary]:
    store = tmp_path_factory.mktemp("store") / "store"
    return store, run([proteins], store, esm2, spec=spec)


def test_every_protein_is_stored_once(embedded: tuple[Path, Summary]) -> None:
    store, summary = embedded
    count = summary.spaces[0]

    assert (summary.records, count.stored + count.duplicate) == (200, 200)
    assert len(stores.vectors(store)) == count.stored == len(stores.sequences(store))


@pytest.mark.parametrize(
    ("layers", "agg"),
    [
        pytest.param((0,), "mean", marks=pytest.mark.slow),
        pytest.param((0, 1, 2), "mean", marks=pytest.mark.slow),
        ((0, 1, 2), "concat"),
    ],
)
def test_vectors_equal_plain_transformers(
    proteins: Path, esm2: Path, tmp_path: Path, layers: tuple[int, ...], agg: str
) -> None:
    run([proteins], tmp_path / "s", esm2, layers=layers, layer_agg=agg)
    found, letters, plain = stores.vectors(tmp_path / "s"), stores.sequences(tmp_path / "s"), PlainEsm(esm2)
    short = sorted(key for key, sequence in letters.items() if len(sequence) <= 1022)

    for key in random.Random(7).sample(short, 20):
        np.testing.assert_allclose(found[key], plain.mean(letters[key], layers, agg), atol=1e-5)


@pytest.mark.slow
def test_actors_order_and_neighbours_change_no_vector(proteins: Path, esm2: Path, tmp_path: Path) -> None:
    records = proteins.read_text().split(">")[1:]
    random.Random(3).shuffle(records)
    shuffled = tmp_path / "shuffled.fasta"
    shuffled.write_text("".join(f">{r}" for r in records))
    run([proteins], tmp_path / "as it is", esm2)
    expected = stores.vectors(tmp_path / "as it is")

    one_actor = {"actors": 1, "token_budget": 300, "window_proteins": 17}
    run([shuffled], tmp_path / "s", esm2, run=one_actor)
    found = stores.vectors(tmp_path / "s")

    assert found.keys() == expected.keys()
    for key, vector in expected.items():
        np.testing.assert_allclose(found[key], vector, atol=1e-5)


def test_a_finished_run_repeats_without_a_forward_pass_or_a_version(
    embedded: tuple[Path, Summary], proteins: Path, esm2: Path, spec: Spec
) -> None:
    store, _ = embedded
    tables = [stores.space(store), *(store / f"{n}.lance" for n in ("proteins", "rejects", "sources", "runs"))]
    before = [stores.version(t) for t in tables]

    again = run([proteins], store, esm2, spec=spec)

    assert [stores.version(t) for t in tables] == before
    assert (again.residues, again.spaces[0].stored) == (0, 0)
    assert again.spaces[0].already_present == 200
    assert again.actors == 0  # no actor was started, so no forward pass can have run


def test_new_proteins_only_cost_themselves(
    embedded: tuple[Path, Summary], proteins: Path, esm2: Path, spec: Spec, tmp_path: Path
) -> None:
    more = tmp_path / "more.fasta"
    known = proteins.read_text().split(">")[1:4]
    more.write_text("".join(f">again_{r}" for r in known) + ">new\nMKTAYIAKQR\n>new2\nmktayiakqr*\n>bad\nMK-A\n")
    summary = run([more], embedded[0], esm2, spec=spec)
    count = summary.spaces[0]

    assert summary.records == 6
    assert (count.stored, count.duplicate, count.rejected, count.already_present) == (1, 1, 1, 3)
    assert summary.residues == 10


def test_a_limit_takes_the_first_records_of_all_inputs(esm2: Path, spec: Spec, tmp_path: Path) -> None:
    a, b = tmp_path / "a.fasta", tmp_path / "b.fasta"
    a.write_text(">a1\nMKT\n>a2\nMKV\n")
    b.write_text(">b1\nMKA\n>b2\nMKL\n>b3\nMKI\n")

    summary = run([a, b], tmp_path / "s", esm2, run={"limit": 3}, spec=spec)

    assert summary.records == 3
    assert set(stores.sequences(tmp_path / "s").values()) == {"MKT", "MKV", "MKA"}
    assert run([a, b], tmp_path / "s", esm2, run={"limit": 3}, spec=spec).spaces[0].already_present == 3


def test_several_recipes_share_one_pass(proteins: Path, esm2: Path, spec: Spec, tmp_path: Path) -> None:
    recipes = [{"layers": [0]}, {"layers": [0, 1], "layer_agg": "concat", "pooling": ["mean", "max"]}]
    summary = run([proteins], tmp_path / "s", esm2, spec=spec, recipes=recipes)

    assert len({c.space for c in summary.spaces}) == 2
    widths = []
    for count in summary.spaces:
        table = tmp_path / "s" / f"{count.space}.lance"
        assert len(stores.vectors(tmp_path / "s", table=table)) == count.stored
        widths.append(next(iter(stores.vectors(tmp_path / "s", table=table).values())).shape)
    assert widths == [(32,), (64,)]


def test_a_broken_file_stops_the_run_before_anything_is_embedded(proteins: Path, esm2: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.fasta.gz"
    broken.write_bytes(gzip.compress(proteins.read_bytes())[:-200])
    text = tmp_path / "notes.txt"
    text.write_text("these are notes\nand no proteins\n")

    with pytest.raises(InputError, match=r"notes\.txt"):
        run([proteins, text], tmp_path / "s", esm2)
    with pytest.raises(InputError, match=r"broken\.fasta\.gz"):
        run([proteins, broken], tmp_path / "s", esm2)
    assert not [t for t in (tmp_path / "s").glob("*.lance") if "unit" in stores.names(t)]


def test_a_recipe_that_does_not_fit_the_model_is_refused_with_all_reasons(
    proteins: Path, esm2: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        run([proteins], tmp_path / "s", esm2, run={"device": "cpu"}, layers=(9,), dtype="float16")

    assert len(caught.value.problems) == 2
    assert not (tmp_path / "s").exists()
