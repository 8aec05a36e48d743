"""examples/quickstart.ipynb runs from its first cell to its last, without a network, and is kept without outputs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"


def test_it_is_kept_without_outputs() -> None:
    cells = nbformat.read(NOTEBOOK, as_version=4).cells

    assert len(cells) > 10
    assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]


@pytest.mark.slow
def test_it_runs(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    home = tmp_path / "home"
    work = tmp_path / "work"
    work.mkdir()
    home.mkdir()
    environment = {
        **os.environ,
        "HOME": str(home),
        "PROTEA_RAY_CACHE": str(tmp_path / "cache"),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        "JUPYTER_PATH": str(tmp_path / "kernels"),
    }
    manager = KernelManager(transport="ipc", connection_file=str(tmp_path / "k"))  # no port is opened
    manager.kernel_spec.argv[0] = sys.executable
    client = NotebookClient(notebook, km=manager, timeout=300, resources={"metadata": {"path": str(work)}})
    client.execute(env=environment)

    outputs = "".join(out.get("text", "") for cell in notebook.cells for out in cell.get("outputs", ()))
    assert "loss " in outputs
    assert "120 of 120 labelled ids are used" in outputs
    assert (work / "store").is_dir()
    shown = [out["data"].get("text/html", "") for cell in notebook.cells for out in cell.get("outputs", ())
             if "data" in out]  # fmt: skip
    assert any(page.startswith('<img alt="120 proteins, pooling mean, of space small-') for page in shown)
