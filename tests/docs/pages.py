"""The fenced blocks of a page, and how a reader would run them: one after the other, in one directory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"(?:<!-- not run: (?P<why>[^>]*?) -->\n+)?^```(?P<language>bash|python|yaml)\n(?P<text>.*?)^```$",
                    re.DOTALL | re.MULTILINE)  # fmt: skip
_FILE = re.compile(r"^# (?P<name>[\w.-]+\.ya?ml)\n")


@dataclass(frozen=True)
class Block:
    """One fenced block; `line` is where it begins, `why_not` why it cannot be run here (None: it is run)."""

    page: str
    line: int
    language: str
    text: str
    why_not: str | None

    def follow(self, folder: Path, home: Path) -> None:
        """Run it in `folder` as a reader would, or write the file that its first line names; it must succeed."""
        if self.language == "yaml":
            named = _FILE.match(self.text)
            assert named, f"{self.page}:{self.line}: the first line of a YAML block names its file: # run.yaml"
            (folder / named["name"]).write_text(self.text, encoding="utf-8")
            return
        command = ["bash", "-euo", "pipefail", "-c"] if self.language == "bash" else [sys.executable, "-c"]
        done = subprocess.run(
            [*command, self.text], cwd=folder, env=environment(home), capture_output=True, text=True, check=False,
            timeout=900,
        )  # fmt: skip
        said = f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        assert done.returncode == 0, f"{self.page}:{self.line} ends with {done.returncode}\n{self.text}\n{said}"
        assert "Traceback" not in said, f"{self.page}:{self.line}\n{said}"


def blocks(page: Path) -> Iterator[Block]:
    """Every block of bash, Python and YAML, in the order of the page."""
    text = page.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("language")) + 1
        yield Block(page.name, line, found["language"], found["text"], found["why"])


def environment(home: Path) -> dict[str, str]:
    """A reader's environment: this Python's programs, a home of its own, no network to the hub, no Ray that runs."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "PROTEA_RAY_"))}
    python_path = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    return kept | {"PATH": path, "HOME": str(home), "HF_HUB_OFFLINE": "1", "PYTHONPATH": python_path}
