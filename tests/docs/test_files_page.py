"""docs/files.md followed to the letter: its commands and its Python run, its table names every format there is."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from protea_ray.query.file_formats.endings import FORMATS
from protea_ray.sequences.records import REJECTS_SCHEMA
from tests.commands import call
from tests.query.test_rejected import embedding, reject
from tests.store import build

PAGE = (Path(__file__).resolve().parents[2] / "docs/files.md").read_text(encoding="utf-8")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a store `store`, which holds SYN000001 and two rejects, and labels in `families.csv`."""
    location = build.store(tmp_path / "store", range(20))
    build.ingest(location, build.proteins([20, 21], "b", ids=["SYN000001", "long"]), "b", "d2")
    build.fill(location, "esm2-00000001", [20], "u2", build.schema())
    rows = pa.Table.from_pylist([reject(), embedding(21)], REJECTS_SCHEMA)
    build.writer().append_table(location.table("rejects"), rows)
    (tmp_path / "families.csv").write_text("id,target\nSYN000001,F1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def test_every_command_of_the_page_runs(store: Path) -> None:
    lines = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("protea-ray")]
    for line in [line for line in lines if " embed " not in line]:  # which tests/docs/test_followed.py runs
        program, *arguments = shlex.split(line, comments=True)
        done = call(*arguments)
        assert (program, done.returncode) == ("protea-ray", 0), (line, done)
    assert len((store / "rejects.csv").read_text().splitlines()) == 3


def test_the_python_of_the_page_runs(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    names: dict[str, object] = {}
    for block in blocks("python"):
        exec(block, names)
    vectors = names["vectors"]
    assert isinstance(vectors, np.ndarray)
    assert np.array_equal(vectors, [build.vector(n) for n in range(21)])
    assert "too_long" in capsys.readouterr().out


def test_the_page_names_every_ending() -> None:
    named = set(re.findall(r"`(\.[a-z0-9.]+)`", PAGE))
    assert set(FORMATS) <= named, set(FORMATS) - named
