"""The benchmark of the first vector measures the code that it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.first_vector import ended, start_run

SAYS = """import json
print(json.dumps({"first_vector_seconds": 1.5, "stages": [{"name": "start", "seconds": 0.5}]}))
"""


def test_a_run_is_that_of_the_named_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Started where another protea_ray lies, which `python -m` would find first."""
    for folder, text in (("named", SAYS), ("here", "raise SystemExit(3)\n")):
        package = tmp_path / folder / "protea_ray" / "cli"
        package.mkdir(parents=True)
        for init in (package.parent / "__init__.py", package / "__init__.py"):
            init.touch()
        (package / "main.py").write_text(text)
    monkeypatch.chdir(tmp_path / "here")
    run = ended(*start_run(tmp_path / "named", tmp_path / "p.fasta", tmp_path / "store"))
    assert (run.first, run.stages) == (1.5, {"start": 0.5})
