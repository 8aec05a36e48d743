"""The README's commands do what it says: every line of "A real use" is run, in order, in an empty directory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

CHECKS = """
assert summary.spaces[0].stored == 0
assert len(table) == 2
assert len(nearest) == 5
assert vectors["MKTAYIAKQR"].shape == (320,)
"""
ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(section: str, language: str) -> list[str]:
    """Fenced blocks of one language under a heading."""
    text = README.split(f"## {section}\n")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.slow
def test_a_real_use(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    (commands,), (program,) = blocks("A real use", "bash"), blocks("A real use", "python")

    shell = subprocess.run(
        ["bash", "-euc", commands], cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True,
        check=False, timeout=500,
    )  # fmt: skip
    assert shell.returncode == 0, shell.stdout + shell.stderr
    assert "carry no biology" not in shell.stderr
    assert (tmp_path / "long.parquet").is_file()

    cells = [program, program, CHECKS]  # twice, as one runs a cell again
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    manager = KernelManager(transport="ipc", connection_file=str(tmp_path / "k"))  # no port is opened
    manager.kernel_spec.argv[0] = sys.executable
    NotebookClient(notebook, km=manager, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()


def test_the_two_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")

    for command in re.findall(r"^make (\w+)", "\n".join(blocks("Two commands", "bash")), re.MULTILINE):
        assert f"\n{command}: " in makefile


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
