"""A run under an approximate attention: warned once, and a protein that cannot be approximated is a reject."""

from __future__ import annotations

from pathlib import Path

import pytest

from protea_ray.cluster.progress import LineReporter
from protea_ray.config.run import run_config
from protea_ray.pipeline.embed import embed
from tests import stores

pytestmark = pytest.mark.usefixtures("cluster")


class Heard(LineReporter):
    """A reporter that keeps its warnings."""

    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def test_proteins_that_two_landmarks_do_not_carry_are_rejects_and_the_run_goes_on(esm2: Path, tmp_path: Path) -> None:
    """Up to 8 tokens attention is exact. The canaries, which are longer, are rejected too and do not stop the run."""
    fasta, store, heard = tmp_path / "proteins.fasta", tmp_path / "store", Heard()
    short, long = ["MKTAYI", "GIVEQC", "M"], ["MKTAYIAKQRQISFVKSHFSRQ" * 9, "FVNQHLCGSHLVEALYLVCGERGFFYTPKT" * 7]
    fasta.write_text("".join(f">{number}\n{letters}\n" for number, letters in enumerate(short + long)))
    summary = embed([str(fasta)], str(store), run_config({"model": str(esm2), "attention": "nystrom:2"}), heard)
    count = summary.spaces[0]
    assert (count.stored, count.rejected) == (3, 2)
    assert [reason.reason for reason in summary.reasons] == ["approximation_error"]
    letters = stores.sequences(store)
    assert {letters[key] for key in stores.vectors(store)} == set(short)
    assert sum("nystrom:2 approximates what" in text for text in heard.warnings) == 1  # others: a slow cluster
    assert summary.recipes == ("layer 0 from the end, pooling mean, stored as float16, attention nystrom:2",)
