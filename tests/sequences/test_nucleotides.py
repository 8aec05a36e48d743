"""DNA and RNA are told from proteins, before anything is embedded."""

from __future__ import annotations

from pathlib import Path

import pytest

from protea_ray.errors import ConfigError
from protea_ray.sequences.inputs import expand
from protea_ray.sequences.nucleotides import looks_like_nucleotides, require_no_nucleotides
from protea_ray.sequences.parts import Columns
from protea_ray.sequences.synth import write_fasta
from tests import commands

GENE = "ATGGCCATTGTAATGGGCCGCTGAAAGGGTGCCCGATAG"


@pytest.mark.parametrize(
    ("records", "is_one"),
    [
        ([GENE * 3], True),
        ([GENE.lower() * 3], True),
        ([GENE.replace("T", "U") * 3], True),
        ([GENE, GENE, "N" * 40], True),
        ([GENE], False),  # too short to be sure
        (["GATTACA"] * 64, False),  # peptides
        ([GENE * 3, "MKTAYIAK"], False),
        ([], False),
    ],
)
def test_long_records_of_their_letters_alone(records: list[str], is_one: bool) -> None:
    assert looks_like_nucleotides(record.encode() for record in records) is is_one


def test_every_such_source_is_named_and_proteins_are_not(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.fasta").write_text(f">gene\n{GENE}\n{GENE}\n{GENE}\n")
    (tmp_path / "table.csv").write_text(f"id,sequence\ngene,{GENE * 3}\n")
    write_fasta(tmp_path / "proteins.fasta", 50, seed=1)
    sources = expand([str(tmp_path)], Columns())

    with pytest.raises(ConfigError) as caught:
        require_no_nucleotides(sources, Columns())

    assert [Path(problem.split(":")[0]).name for problem in caught.value.problems] == [
        "one.fasta", "table.csv", "two.fasta",
    ]  # fmt: skip


def test_embed_asks_before_it_starts_and_takes_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "genes.fasta").write_text(f">gene\n{GENE * 3}\n")
    monkeypatch.setattr("ray.init", lambda *_, **__: pytest.fail("Ray was started"))
    monkeypatch.setattr("protea_ray.pipeline.embed.embed", lambda *_, **__: pytest.fail("asked nothing"))

    done = commands.call("embed", tmp_path / "genes.fasta", tmp_path / "s")

    assert (done.returncode, (tmp_path / "s").exists()) == (2, False)
    assert "look like DNA or RNA" in done.stderr
    assert "--alphabet aa" in done.stderr
    with pytest.raises(pytest.fail.Exception, match="asked nothing"):
        commands.call("embed", tmp_path / "genes.fasta", tmp_path / "s", "--alphabet", "aa")
