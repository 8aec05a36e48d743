"""What each kind of run tells of itself, read from a store in which every kind of run took place."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

import protea_ray
from protea_ray.config.run import RunOptions
from protea_ray.pictures.store_data import RunFacts
from protea_ray.query.run_facts import read_run_facts
from protea_ray.store.location import open_location

LETTERS = "ACDEFGHIKLMNPQRSTVWY"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, esm2: Path, cluster: None) -> tuple[str, tuple[RunFacts, ...]]:
    """A FASTA, and the runs of its store: embed, embed the same again beside more, reembed, import."""
    place = tmp_path_factory.mktemp("runs")
    fasta, more, store = place / "a.fasta", place / "b|<b>.fasta", str(place / "s")
    fasta.write_text("".join(f">p{n}\n{LETTERS * (n + 1)}\n" for n in range(12)) + ">bad\nMK-1\n")
    more.write_text(">q0\nMKTAYIAKQR\n")
    usual: Any = {"model": str(esm2), "max_residues": 100, "window_overlap": 20}
    protea_ray.embed(str(fasta), store, **usual)
    protea_ray.embed([str(fasta), str(more)], store, **usual)
    protea_ray.reembed(store, pooling=("max",), **usual)
    vectors = place / "vectors.h5"
    protea_ray.open_store(store).export(vectors)
    protea_ray.import_vectors(vectors, store, model="elsewhere")
    return str(fasta), read_run_facts(open_location(store))


def test_every_kind_of_run_is_there_oldest_first(runs: tuple[str, tuple[RunFacts, ...]]) -> None:
    _, found = runs
    assert [run.kind for run in found] == ["embed", "embed", "reembed", "import"]
    assert [run.finished for run in found] == sorted(run.finished for run in found)


def test_the_flow_of_every_run_that_accounts_adds_up(runs: tuple[str, tuple[RunFacts, ...]]) -> None:
    _, found = runs
    flows = [(flow.records, flow.stored, flow.rejected, flow.already_present) for run in found for flow in run.flows]
    assert flows == [(13, 12, 1, 0), (14, 1, 1, 12), (13, 13, 0, 0)]


def test_residues_are_the_same_in_the_summary_the_packs_and_under_the_rate(
    runs: tuple[str, tuple[RunFacts, ...]],
) -> None:
    _, found = runs
    whole = [20 * (n + 1) for n in range(12)]
    residues = [sum(whole), 10, sum(whole) + 10]
    assert [run.residues for run in found[:3]] == residues
    for run, expected in zip(found[:3], residues, strict=True):
        assert run.packing is not None and run.packing.residues == expected
        assert run.packing.tokens > expected  # special tokens, and what two windows of a long protein share
        area = sum(b.residues_per_second * (b.seconds - a.seconds) for a, b in itertools.pairwise(run.rate))
        assert area == pytest.approx(expected, rel=0.02)  # rates are kept to a tenth of a residue/s


def test_a_run_says_what_it_was_given_and_under_which_options(runs: tuple[str, tuple[RunFacts, ...]]) -> None:
    fasta, found = runs
    first, second, reembedded, _ = found
    assert (first.config["inputs"], first.config["inputs_given"]) == ([fasta], 1)
    assert [Path(given).name for given in second.config["inputs"]] == ["a.fasta", "b|<b>.fasta"]
    assert (reembedded.config["inputs"], reembedded.config["inputs_given"]) == ([], 0)
    for run in (first, second, reembedded):
        assert run.config["run"].keys() == RunOptions.model_fields.keys() - {"address"}


def test_the_digest_of_a_recipe_is_the_one_in_its_space_s_name(runs: tuple[str, tuple[RunFacts, ...]]) -> None:
    _, found = runs
    for run in found[:3]:
        assert run.flows[0].space.rpartition("-")[2] == run.digests["recipe"][:8]
    assert found[0].digests == found[1].digests != found[2].digests
    assert "model.safetensors" in found[0].digests


def test_a_reembedding_records_its_verification(runs: tuple[str, tuple[RunFacts, ...]]) -> None:
    _, found = runs
    names = [stage.name for stage in found[2].stages]
    assert names[-1] == "verification" and "embedding" in names and "ingest" not in names


def test_an_import_has_only_what_an_import_knows(runs: tuple[str, tuple[RunFacts, ...]]) -> None:
    imported = runs[1][3]
    nothing = (imported.seconds, imported.residues, imported.device, imported.actors, imported.packing)
    assert nothing == (None,) * 5
    assert (imported.flows, imported.rate, imported.stages) == ((), (), ())


def test_a_store_that_no_run_wrote_to_has_none(tmp_path: Path) -> None:
    assert read_run_facts(open_location(str(tmp_path / "none"))) == ()
