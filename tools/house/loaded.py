"""Figures of the running program: which files are loaded, and through which a protein's letters pass.

*Loaded* counts files of protea_ray in `sys.modules` of a new process that imported the modules of ENTRIES: for `embed`
the driver and what an actor loads with one family (ESM-2), for `reading` the reader with its PyTorch and Ray data sets.
Empty files (`__init__.py`) do not count.

*Letters* runs `protea-ray embed` on one protein in a directory of its own. It counts the files of protea_ray of which
some function was given, yielded or returned a value that holds the protein's letters as text: a string, bytes, an
Arrow table, or a container or object of those. All processes of the run are watched, Ray's workers included. Letters
are not followed any more once they have become token numbers, and an Arrow reader is not looked into (it can be read
once), so a person who follows a protein through the code reads more files than this.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

# The first group of which every module exists is imported: this tree, then the tree as it was at 40497ec.
ENTRIES = {
    "embed": (
        ("pipeline.embed", "pipeline.worker", "encoder.encoder", "models.families.esm2"),
        ("run.driver", "run.worker", "embed.encoder", "embed.families.esm2"),
    ),
    "reading": (
        ("query.reader", "query.training.torch_dataset", "query.training.ray_dataset", "query.training.labels"),
        ("query.store", "query.torch_dataset", "query.dataset", "query.labels"),
    ),
}
LETTERS = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVKALPDAQFEVV"
WATCHER = Path(__file__).with_name("watcher")
_COUNT = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
files = {m.__file__ for n, m in sys.modules.items() if n.split(".")[0] == "protea_ray" and getattr(m, "__file__", None)}
print(json.dumps(sorted(files)))
"""


def loaded(root: Path, entry: str) -> int:
    """Files of the tree under `root` that importing `entry` (a key of ENTRIES) loads."""
    groups = (tuple(f"protea_ray.{name}" for name in group) for group in ENTRIES[entry])
    modules = next(group for group in groups if all(_exists(root, name) for name in group))
    done = _python(root, "-c", _COUNT, *modules, env={})
    return sum(1 for file in json.loads(done.stdout.splitlines()[-1]) if Path(file).stat().st_size)


def _exists(root: Path, module: str) -> bool:
    path = root.joinpath(*module.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def letters(root: Path, work: Path) -> list[str]:
    """Files of the tree under `root` through which the letters of one protein pass; `work` is an empty directory."""
    (work / "one.fasta").write_text(f">one\n{LETTERS}\n", encoding="utf-8")
    seen = work / "seen"
    seen.mkdir()
    watched = {
        "PYTHONPATH": f"{root}{os.pathsep}{WATCHER}",
        "HOUSE_SEEN": str(seen),
        "HOUSE_PACKAGE": str(root / "protea_ray"),
        "HOUSE_LETTERS": LETTERS,
        "PROTEA_RAY_CACHE": str(work / "cache"),
    }
    command = ["-m", "protea_ray.cli.main", "embed", str(work / "one.fasta"), str(work / "store")]
    _python(root, *command, "--set", "run.actors=1", env=watched)
    names = {line for file in seen.iterdir() for line in file.read_text(encoding="utf-8").split()}
    return sorted(names)


def _python(root: Path, *arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run Python on the tree under `root`; raises RuntimeError with what it said when it fails."""
    environment = {**os.environ, "PYTHONPATH": str(root), **env}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)[:80]} failed: {done.stderr[-2000:]}")
    return done
