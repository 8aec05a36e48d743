"""The page on training sets does what it says: every block is run, in order, in an empty directory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "training-sets.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Fenced blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.slow
def test_every_block_in_order(tmp_path: Path) -> None:
    (commands,) = blocks("bash")
    program = textwrap.indent("\n".join([*blocks("python"), "assert ','.join(map(str, taken + rest))"]), "    ")
    script = tmp_path / "page.py"
    script.write_text(f'if __name__ == "__main__":\n{program}')  # workers run the script again
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}

    for command in (["bash", "-euc", commands], [sys.executable, str(script)]):
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    assert "160 of 200 labelled ids are used" in done.stdout
