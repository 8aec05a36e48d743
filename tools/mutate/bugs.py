"""Bugs to be tried: drawn by a seed from every place of some files, or aimed, which somebody wrote down by hand.

The id of a bug is a digest of its file, kind and lines before and after, so it stays when the file changes elsewhere.
"""

from __future__ import annotations

import hashlib
import random
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.mutate.operators import Edit
from tools.mutate.sites import apply, changes_code, sites


@dataclass(frozen=True)
class Bug:
    """One change to one file, and the tests that ought to notice it."""

    id: str
    file: str
    line: int
    kind: str  # the operator of a drawn bug, `aimed` for one written by hand
    old: str
    new: str
    meaning: str
    tests: tuple[str, ...]
    edit: Edit

    def made_in(self, text: str) -> str:
        """The text of the file with the bug in it."""
        return apply(text, self.edit)


def drawn(root: Path, files: Sequence[str], count: int, seed: int, tests: Mapping[str, Sequence[str]]) -> list[Bug]:
    """Draw `count` bugs, each place of all files being as likely as any other."""
    texts = {file: (root / file).read_text(encoding="utf-8") for file in sorted(files)}
    places = [(file, edit) for file, text in texts.items() for edit in sites(text)]
    random.Random(seed).shuffle(places)
    bugs: list[Bug] = []
    for file, edit in places:
        if len(bugs) == count:
            break
        if changes_code(texts[file], edit):
            bugs.append(_bug(file, texts[file], edit, "", tests_of(file, tests)))
    return bugs


def aimed(root: Path, table: Path, tests: Mapping[str, Sequence[str]]) -> list[Bug]:
    """Read bugs written by hand: `[[bug]]` with file, old, new, meaning and, where they are not the file's, tests.

    Raises ValueError with every bug whose `old` does not occur exactly once in its file.
    """
    entries = tomllib.loads(table.read_text(encoding="utf-8"))["bug"]
    stale = [f"{entry['file']}: {entry['old']!r} occurs {times} times" for entry in entries
             if (times := occurrences(root, entry)) != 1]  # fmt: skip
    if stale:
        raise ValueError(f"{table.name}: mend the text of these bugs:\n" + "\n".join(stale))
    bugs = []
    for entry in entries:
        text = (root / entry["file"]).read_text(encoding="utf-8")
        start = text.index(entry["old"])
        edit = Edit(start, start + len(entry["old"]), entry["new"], "aimed")
        chosen = entry.get("tests") or tests_of(entry["file"], tests)
        bugs.append(_bug(entry["file"], text, edit, entry["meaning"], chosen))
    return bugs


def occurrences(root: Path, entry: Mapping[str, Any]) -> int:
    """How often the old text of an aimed bug stands in its file; 0 for a file that is not there."""
    path = root / entry["file"]
    return path.read_text(encoding="utf-8").count(entry["old"]) if path.is_file() else 0


def read_tests(table: Path) -> dict[str, list[str]]:
    """The table that says which tests belong to a file or a folder."""
    return tomllib.loads(table.read_text(encoding="utf-8"))["tests"]


def tests_of(file: str, tests: Mapping[str, Sequence[str]]) -> list[str]:
    """The tests of a file: those of the longest entry that it begins with, or the folder of its room."""
    for length in range(len(file), 0, -1):
        if file[:length] in tests:
            return list(tests[file[:length]])
    return [f"tests/{Path(file).parts[1]}"]


def _bug(file: str, text: str, edit: Edit, meaning: str, tests: Sequence[str]) -> Bug:
    """A bug with the lines that its edit touches, before and after, in one line each."""
    first, last = text.rfind("\n", 0, edit.start) + 1, text.find("\n", edit.end)
    rest = text[edit.end : last if last >= 0 else len(text)]
    old, new = _one_line(text[first : edit.end] + rest), _one_line(text[first : edit.start] + edit.new + rest)
    parts = (file, edit.operator, old, new, str(text[:first].count(text[first : edit.end])))
    name = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]
    line = text.count("\n", 0, edit.start) + 1
    return Bug(name, file, line, edit.operator, old, new, meaning, tuple(tests), edit)


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
