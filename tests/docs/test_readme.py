"""The README's commands do what it says: every line of "A real use" is run, in order, in an empty directory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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

    checks = (
        "\nassert summary.spaces[0].stored == 0\nassert len(table) == 2\nassert len(nearest) == 5\nprint(vectors)\n"
    )
    python = subprocess.run(
        [sys.executable, "-c", program + checks], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert python.returncode == 0, python.stderr


def test_the_two_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")

    for command in re.findall(r"^make (\w+)", "\n".join(blocks("Two commands", "bash")), re.MULTILINE):
        assert f"\n{command}: " in makefile


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
