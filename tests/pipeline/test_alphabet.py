"""Amino acids and structure letters (3Di) of the same proteins in one store, through the whole pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pytest

from protea_ray.cluster.progress import LineReporter
from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.config.run import run_config
from protea_ray.encoder.collect import Embedded, Rejected
from protea_ray.errors import ConfigError
from protea_ray.pipeline import embed as embedding
from protea_ray.pipeline.dry_run import dry_run
from protea_ray.pipeline.embed import embed
from protea_ray.pipeline.reembed import reembed
from protea_ray.query.reader import open_store
from protea_ray.store.location import open_location
from protea_ray.store.verify import verify
from protea_ray.testing.random_checkpoint import build
from tests import stores
from tests.commands import call
from tests.toy import ToyEncoder, ToySpec

IDS = ("chainA", "chainB", "chainC")
# what Foldseek writes for a structure stands beside its amino acids: same ids, same lengths, another alphabet
AMINO_ACIDS = ("MKTAYIAKQRQISFVKSHFSRQ", "GIVEQCCTSICSLYQLENYCN", "DVQVADPVV")
STRUCTURES = ("DPPVLVVQVVVLLVVLVVVVPD", "DVVVVCPPDQDWDWDWQPVPD", "DVQVADPVV")  # the last one: the same letters


def fasta(path: Path, letters: tuple[str, ...]) -> Path:
    path.write_text("".join(f">{id}\n{s}\n" for id, s in zip(IDS, letters, strict=True)))
    return path


def mean(directory: Path, prefix: str, letters: str) -> np.ndarray:
    """Mean of the last states of plain transformers, the prefix written by hand."""
    import torch
    from transformers import T5EncoderModel, T5Tokenizer

    own, model = T5Tokenizer.from_pretrained(directory), T5EncoderModel.from_pretrained(directory).eval()
    ids = own(f"{prefix} {' '.join(letters)}", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        return model(ids).last_hidden_state[0, 1:-1].mean(0).numpy()


class AnyCase(ToyEncoder):
    """The encoder without a model, which knows capitals alone, for lower-case letters as well."""

    def embed(self, sequences: Sequence[str]) -> Iterator[Embedded | Rejected]:
        return super().embed([s.upper() for s in sequences])


class ToyOf3Di(ToySpec):
    """What a run loads in place of ProstT5."""

    def load(self, recipes: Sequence[EmbeddingConfig]) -> Any:
        return AnyCase(tuple(recipes), hidden=32)


@dataclass(frozen=True)
class Both:
    """One store with a space of each alphabet."""

    model: Path
    store: Path
    aa: str
    structure: str


def fields(model: Path, **recipe: Any) -> dict[str, Any]:
    return {"model": str(model), "store_dtype": "float32", "normalize": False, "run": {"actors": 1}, **recipe}


@pytest.fixture(scope="module")
def both(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Both:
    root = tmp_path_factory.mktemp("both")
    model = build("prostt5", root / "prostt5", layers=1)
    spaces = []
    for alphabet, letters in (("aa", AMINO_ACIDS), ("3di", STRUCTURES)):
        config = run_config(fields(model, alphabet=alphabet))
        summary = embed([str(fasta(root / f"{alphabet}.fasta", letters))], str(root / "s"), config, LineReporter())
        assert (summary.spaces[0].stored, summary.spaces[0].duplicate) == (3, 0)
        spaces.append(summary.spaces[0].space)
    return Both(model, root / "s", *spaces)


def test_each_space_has_its_own_numbers(both: Both) -> None:
    letters = stores.sequences(both.store)
    for space, prefix, wanted in ((both.aa, "<AA2fold>", AMINO_ACIDS), (both.structure, "<fold2AA>", STRUCTURES)):
        vectors = stores.vectors(both.store, table=both.store / f"{space}.lance")
        spell = str.lower if space == both.structure else str
        assert {letters[key] for key in vectors} == {spell(s) for s in wanted}
        for key, vector in vectors.items():
            np.testing.assert_allclose(vector, mean(both.model, prefix, letters[key]), atol=1e-5)


def test_a_query_by_id_reads_the_space_it_asks(both: Both) -> None:
    store = open_store(both.store)
    for space, wanted in ((both.aa, AMINO_ACIDS), (both.structure, STRUCTURES)):
        found = store.get(list(IDS), space=space, columns=["sequence", "mean"])
        assert [s.upper() for s in found["sequence"].to_pylist()] == list(wanted)
        (own, *_) = found["mean"].to_pylist()
        near = store.nearest("chainA", k=5, space=space)
        assert sorted(near["id"].to_pylist()) == ["chainB", "chainC"]
        assert len(store.to_arrow(space=space)) == 3
        vectors = dict(zip(found["id"].to_pylist(), found["mean"].to_pylist(), strict=True))
        similar = [
            np.dot(own, v) / np.linalg.norm(own) / np.linalg.norm(v) for v in map(vectors.get, near["id"].to_pylist())
        ]
        np.testing.assert_allclose(near["similarity"].to_numpy(), similar, atol=1e-5)


def test_both_spaces_are_whole(both: Both) -> None:
    report = verify(open_location(both.store))
    assert report.findings == ()


def test_the_same_commands_have_nothing_to_do(both: Both) -> None:
    for alphabet in ("aa", "3di"):
        config = run_config(fields(both.model, alphabet=alphabet))
        planned = dry_run([str(both.store.parent / f"{alphabet}.fasta")], str(both.store), config, LineReporter())
        assert (planned.spaces[0].proteins, planned.spaces[0].already_present) == (0, 3)


def test_one_file_under_both_alphabets_is_two_sources(both: Both, tmp_path: Path) -> None:
    either = fasta(tmp_path / "either.fasta", STRUCTURES)
    spec = {"make_spec": ToyOf3Di}
    for alphabet in ("aa", "3di", "aa", "3di"):
        summary = embed(
            [str(either)],
            str(tmp_path / "s"),
            run_config(fields(both.model, alphabet=alphabet)),
            LineReporter(),
            **spec,
        )
        assert summary.spaces[0].rejected == 0
    rows = lance.dataset(str(tmp_path / "s" / "sources.lance")).to_table().to_pylist()
    assert sorted(r["variant"] for r in rows) == ["id/sequence", "id/sequence,alphabet=3di"]
    assert len({r["source"] for r in rows}) == 2
    assert len({r["digest"] for r in rows}) == 1
    assert sorted(stores.sequences(tmp_path / "s").values()) == sorted([*STRUCTURES, *map(str.lower, STRUCTURES)])


def test_a_new_checkpoint_reads_the_proteins_of_its_alphabet(both: Both, tmp_path: Path) -> None:
    newer = build("prostt5", tmp_path / "newer", layers=1, seed=1)
    for alphabet, wanted in (("3di", STRUCTURES), ("aa", AMINO_ACIDS)):
        done = reembed(str(both.store), fields(newer, alphabet=alphabet), LineReporter(), alias=f"new_{alphabet}")
        assert (done.moved, done.summary.spaces[0].stored, done.summary.spaces[0].rejected) == (True, 3, 0)
        vectors = stores.vectors(both.store, table=both.store / f"{done.after}.lance")
        letters = stores.sequences(both.store)
        assert {letters[key].upper() for key in vectors} == set(wanted)
    inherited = reembed(str(both.store), fields(both.model), LineReporter(), alias="new_3di")
    assert inherited.after == both.structure  # the alphabet of the space that the alias points to


def test_an_older_family_cannot_take_over_structures(both: Both, esm2: Path) -> None:
    with pytest.raises(ConfigError, match="no tokens for 3di"):
        reembed(str(both.store), {"model": str(esm2), "alphabet": "3di"}, LineReporter())


def test_amino_acids_are_rejected_by_letter_under_3di(both: Both, tmp_path: Path) -> None:
    given = fasta(tmp_path / "rare.fasta", ("MKBTA", "GIVEX", "MKTAY"))
    config = run_config(fields(both.model, alphabet="3di"))
    summary = embed([str(given)], str(tmp_path / "s"), config, LineReporter(), ToyOf3Di)
    assert (summary.spaces[0].stored, summary.spaces[0].rejected) == (1, 2)
    details = lance.dataset(str(tmp_path / "s" / "rejects.lance")).to_table()["detail"].to_pylist()
    assert details == [f"letter {c!r}, residue {n}: not one of the 20 of 3Di" for c, n in (("b", 3), ("x", 5))]


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise AssertionError("Ray was asked for")

    monkeypatch.setattr(embedding, "connect", refuse)


@pytest.mark.parametrize("command", [["embed"], ["embed", "--dry-run"]])
def test_structure_letters_are_asked_about_before_ray_starts(command: list[str], no_ray: None, tmp_path: Path) -> None:
    model = build("prostt5", tmp_path / "m", layers=1)
    upper, lower = fasta(tmp_path / "upper.fasta", STRUCTURES), tmp_path / "lower.fasta"
    lower.write_text("".join(f">{id}\n{s.lower()}\n" for id, s in zip(IDS, STRUCTURES, strict=True)))
    given = fasta(tmp_path / "aa.fasta", AMINO_ACIDS)

    done = call(*command, upper, lower, given, tmp_path / "s", "--model", model)

    assert done.returncode == 2
    assert f"{upper}: letters as frequent as in 3Di" in done.stderr
    assert f"{lower}: letters in lower case alone" in done.stderr
    assert str(given) not in done.stderr
    assert "--alphabet 3di" in done.stderr
    assert not (tmp_path / "s").exists()


def test_a_model_without_structure_letters_is_refused_before_ray_starts(
    no_ray: None, esm2: Path, tmp_path: Path
) -> None:
    given = fasta(tmp_path / "a.fasta", STRUCTURES)
    done = call("embed", given, tmp_path / "s", "--model", esm2, "--alphabet", "3di")
    assert (done.returncode, "no tokens for 3di" in done.stderr) == (2, True)


def test_recipes_of_one_run_have_one_alphabet() -> None:
    with pytest.raises(ConfigError, match="recipes differ in alphabet"):
        run_config({"model": "m", "recipes": [{"alphabet": "aa"}, {"alphabet": "3di"}]})
