"""The Python of docs/store.md on search and on ids in other programs runs, and joins the right ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from protea_ray.query.reader import open_store
from protea_ray.store.location import open_location
from protea_ray.testing import random_checkpoint as checkpoints
from tests.query.worked import embed_here

PAGE = Path(__file__).parents[2] / "docs" / "store.md"
PROTEINS = {"p1": "MKTAYIAKQRQISFVKSHFSRQ", "p2": "GSHMASMTGGQQMGRDLYDDDDKWW", "p3": "A" * 35, "p4": "CDEF" * 9}


def block(heading: str) -> str:
    """The Python of one section."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return section.split("```python\n")[1].split("```")[0]


@pytest.mark.filterwarnings("ignore")  # LanceDB's own
def test_the_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lancedb", reason="lancedb is not installed")
    monkeypatch.chdir(tmp_path)
    model = checkpoints.build("esm2", tmp_path / "model", layers=1, hidden=320)
    embed_here(open_location("store"), model, PROTEINS, "old.fasta", pooling=["mean", "none"])
    (tmp_path / "new.fasta").write_text(">n\nMKTAYIAKQRQISF\n")

    exec(block("Search"), {})
    names: dict[str, Any] = {}
    exec(block("Ids in other programs"), names)

    first = open_store("store").to_arrow()["id"][0].as_py()
    assert sorted(names["named"]["id"]) == sorted(names["also"]["id"]) == sorted(PROTEINS)
    assert names["named"].sort_values("_distance")["id"].iloc[0] == first
