"""The fenced blocks of a page, and how a reader would run them: one after the other, in one directory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager

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

    def follow(self, reader: Reader) -> None:
        """Run it as a reader would, or write the file that its first line names; it must succeed."""
        if self.language == "yaml":
            named = _FILE.match(self.text)
            assert named, f"{self.page}:{self.line}: the first line of a YAML block names its file: # run.yaml"
            (reader.folder / named["name"]).write_text(self.text, encoding="utf-8")
            return
        said = reader.shell(self.text) if self.language == "bash" else reader.python(self.text)
        assert said is None, f"{self.page}:{self.line}\n{self.text}\n{said}"


class Reader:
    """One who follows a page in `folder`: commands in a shell, Python in one notebook kernel from first to last."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder, self._environment = folder, environment(home)
        self._kernel: KernelManager | None = None
        self._client: BlockingKernelClient | None = None

    def shell(self, commands: str) -> str | None:
        """What went wrong, with what was printed; None for nothing."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands], cwd=self.folder, env=self._environment, capture_output=True,
            text=True, check=False, timeout=900,
        )  # fmt: skip
        said = f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return None if done.returncode == 0 and "Traceback" not in said else f"ends with {done.returncode}\n{said}"

    def python(self, code: str) -> str | None:
        """What was raised; None for nothing. Names stay for the next block, as in a notebook."""
        if self._client is None:
            self._start()
        assert self._client is not None
        reply = self._client.execute_interactive(code, timeout=600, output_hook=lambda _: None)["content"]
        return None if reply["status"] == "ok" else f"{reply['ename']}: {reply['evalue']}"

    def _start(self) -> None:
        self._kernel = KernelManager(transport="ipc", connection_file=str(self.folder.parent / "k"))  # opens no port
        self._kernel.kernel_spec.argv[0] = sys.executable
        self._kernel.start_kernel(cwd=str(self.folder), env=self._environment)
        self._client = self._kernel.blocking_client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=60)

    def close(self) -> None:
        """End the kernel."""
        if self._client is not None and self._kernel is not None:
            self._client.stop_channels()
            self._kernel.shutdown_kernel(now=True)


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
