"""What each row of the suite found, and the lines that are printed at the end: one a row, none for free."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

TITLES = {
    1: "SIGKILL of encoder actors",
    2: "nodes lost and added",
    3: "SIGKILL of the driver at named points",
    4: "two drivers at once, the holder killed",
    5: "acknowledgements of commits lost",
    6: "S3 that fails",
    7: "proteins that kill the encoder",
    8: "out of memory above N tokens",
    9: "disk full, read-only, forbidden, vanished",
    10: "damaged data files",
    11: "damaged weights",
    12: "inputs of every kind",
    13: "readers beside commits and a compaction",
    14: "canary secrets",
    15: "fuzzed inputs and configuration",
    16: "soak with interruptions",
}


@dataclass
class Row:
    """`times`: how often something was broken. Rows are proteins, or whatever the row counts."""

    number: int
    broken: str
    times: int = 0
    expected: int = 0
    found: int = 0
    redone: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)


@dataclass
class Ledger:
    """All rows of a session; `missing` holds why a test did not run, `failed` which did not hold."""

    rows: list[Row] = field(default_factory=list)
    missing: dict[int, list[str]] = field(default_factory=dict)
    failed: dict[int, list[str]] = field(default_factory=dict)

    @contextmanager
    def row(self, number: int, broken: str) -> Iterator[Row]:
        """Time one test of a row; it counts only when the block ends without an error."""
        row, began = Row(number, broken), time.monotonic()
        yield row
        row.seconds = time.monotonic() - began
        self.rows.append(row)

    def lines(self) -> Iterator[str]:
        """One line for each row of the suite, those that did not run included."""
        for number, title in TITLES.items():
            yield f"{number:>2}  {title:<42} {self._found(number)}"

    def _found(self, number: int) -> str:
        rows = [r for r in self.rows if r.number == number]
        missing, failed = self.missing.get(number, []), self.failed.get(number, [])
        said = []
        if failed:
            said.append(f"FAILED: {', '.join(failed)}")
        if rows:
            total = {name: sum(getattr(r, name) for r in rows) for name in ("times", "expected", "found", "redone")}
            seconds = sum(r.seconds for r in rows)
            said.append(
                "broken {times} times, {expected:,} rows expected, {found:,} found, {redone:,} redone".format(**total)
                + f", {seconds:.0f} s: {'; '.join(dict.fromkeys(r.broken for r in rows))}"
            )
            said += [note for r in rows for note in r.notes]
        said += [f"NOT RUN, not passed: {reason}" for reason in dict.fromkeys(missing)]
        return " | ".join(said) or "not selected, not passed"
