"""What status prints for people: once, as a history of runs, or again and again."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from time import monotonic, sleep
from typing import Any

from rich.filesize import decimal

from protea_ray.cli.terminal import Column, print_table, say
from protea_ray.display import clock_time
from protea_ray.query.status import EVALUATION_COLUMNS, RUN_COLUMNS, SPACE_COLUMNS, StoreStatus, run_rows

_CLEAR = "\x1b[H\x1b[J"  # cursor to the corner, and everything below it away
_LEFT_OUT_FIRST = {"created", "vectors"}
_NUMBERS = {"proteins", "value", "seeds", "of inputs", "stored", "rejected", "residues/s", "seconds"}


def print_status(status: StoreStatus) -> None:
    """Spaces first: they are what a person came for."""
    say(f"{status.uri}: {status.proteins:,} protein records")
    columns = [Column(name, right=name in _NUMBERS, keep=name not in _LEFT_OUT_FIRST) for name in SPACE_COLUMNS]
    rows = status.space_rows()
    told = [n for n, column in enumerate(columns) if column.name != "differs in" or any(row[n] for row in rows)]
    print_table([columns[n] for n in told], [[row[n] for n in told] for row in rows])
    tables = [(t.name, f"{t.rows:,}", str(t.version), decimal(t.bytes)) for t in status.tables]
    print_table([Column("table"), *(Column(name, right=True) for name in ("rows", "version", "on disk"))], tables)
    if status.evaluation_rows():
        best = [Column(name, right=name in _NUMBERS, keep=name != "of inputs") for name in EVALUATION_COLUMNS]
        print_table(best, status.evaluation_rows())
    for line in status.facts():
        say(line)


def print_runs(runs: Sequence[Mapping[str, Any]]) -> None:
    """One row a run, the newest last."""
    columns = [Column(name, right=name in _NUMBERS, keep=name != "run") for name in RUN_COLUMNS]
    print_table(columns, run_rows(runs))


def watch_status(read: Callable[[], StoreStatus], seconds: float) -> None:
    """Print the status every `seconds` until Ctrl-C, with the rate since the look before."""
    before: tuple[float, StoreStatus] | None = None
    try:
        while True:
            now, status = monotonic(), read()
            if sys.stdout.isatty():
                print(_CLEAR, end="")
            say(f"{datetime.now():%H:%M:%S}, every {seconds:g} s (Ctrl-C stops)")
            print_status(status)
            for line in _rates(before, now, status):
                say(line)
            before = now, status
            sleep(seconds)
    except KeyboardInterrupt:
        say("")


def _rates(before: tuple[float, StoreStatus] | None, now: float, status: StoreStatus) -> list[str]:
    """Proteins that came to each space since the look before, and the time that the missing ones take at that rate."""
    if before is None:
        return []
    then, earlier = before
    had = {space.name: space.keys for space in earlier.spaces}
    lines: list[str] = []
    for space in status.spaces:
        came = space.keys - had.get(space.name, 0)
        if came > 0:
            left = clock_time(space.missing * (now - then) / came)
            lines.append(f"{space.name}: {came:,} proteins in the last {now - then:.0f} s; about {left} left")
    return lines
