"""Results of tried bugs: kept in a file while they come, and shown as a table with what a person said of them."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.mutate.bugs import Bug
from tools.mutate.trial import MISSED, NO_IMPORT, NOTICED, TIME_OUT, UNCLEAR

EQUIVALENT = "no consequence"


@dataclass(frozen=True)
class Result:
    """One bug that was tried; `state` is the digest of its file and its tests."""

    id: str
    file: str
    line: int
    kind: str
    old: str
    new: str
    meaning: str
    tests: tuple[str, ...]
    verdict: str
    first: str
    seconds: float
    state: str


def state(root: Path, bug: Bug) -> str:
    """Digest of the bug's file and of its tests: a result is good as long as it stays the same."""
    total = hashlib.sha256()
    for name in (bug.file, *bug.tests):
        path = root / name.split("::")[0]
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        for file in files:
            total.update(file.read_bytes() if file.is_file() else b"")
    return total.hexdigest()[:16]


def read(file: Path) -> dict[tuple[str, str], Result]:
    """Results of earlier runs by id and state; a last line that was cut off is left out."""
    results: dict[tuple[str, str], Result] = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        try:
            fields = json.loads(line)
        except ValueError:
            continue
        result = Result(**fields | {"tests": tuple(fields["tests"])})
        results[result.id, result.state] = result
    return results


def append(file: Path, result: Result) -> None:
    """Write one result behind the others."""
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps(asdict(result)) + "\n")


def read_equivalent(file: Path) -> dict[str, str]:
    """What a person found to have no consequence: the reason by the bug's id."""
    return tomllib.loads(file.read_text(encoding="utf-8")).get("equivalent", {}) if file.is_file() else {}


def counts(results: Iterable[Result], equivalent: Mapping[str, str]) -> dict[str, int]:
    """How many bugs had each verdict. One without a consequence is counted as that, whatever its tests said."""
    counter = Counter(EQUIVALENT if result.id in equivalent else result.verdict for result in results)
    return {name: counter[name] for name in (NOTICED, TIME_OUT, MISSED, NO_IMPORT, UNCLEAR, EQUIVALENT)}


def rate(counted: Mapping[str, int]) -> str:
    """Noticed of those with a consequence. What did not import or was unclear says nothing and is left out."""
    noticed = counted[NOTICED] + counted[TIME_OUT]
    total = noticed + counted[MISSED]
    return f"{noticed} of {total} noticed" + (f" ({100 * noticed / total:.0f} %)" if total else "")


def markdown(results: Sequence[Result], equivalent: Mapping[str, str]) -> str:
    """The table of all bugs, those that nobody noticed first, and the counts above it."""
    counted = counts(results, equivalent)
    summary = ", ".join(f"{number} {name}" for name, number in counted.items() if number)
    lines = [f"{rate(counted)}; {summary}; {sum(r.seconds for r in results):.0f} s of tests", ""]
    lines += ["| id | place | before | after | verdict | by | what it means, or why it has no consequence |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for result in sorted(results, key=lambda r: (r.verdict != MISSED or r.id in equivalent, r.file, r.line)):
        remark = equivalent.get(result.id) or result.meaning or result.kind
        verdict = EQUIVALENT if result.id in equivalent else result.verdict
        by = result.first if result.verdict == NOTICED else ", ".join(result.tests)
        cells = [result.id, f"{result.file}:{result.line}", _code(result.old), _code(result.new), verdict, by, remark]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _code(text: str) -> str:
    """Code for a table's cell, at most 100 characters."""
    return f"`{text if len(text) <= 100 else text[:97] + '...'}`"
