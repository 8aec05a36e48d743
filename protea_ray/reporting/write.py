"""Writing a report to a file, whole or not at all, and never over a file that is something else."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from protea_ray.config.paths import is_file
from protea_ray.errors import ConfigError
from protea_ray.mistakes import Mistakes
from protea_ray.pictures.style import INSTALL, drawable
from protea_ray.reporting.gather import ReportOptions, gather, report_request
from protea_ray.store.location import Location

_MARK = b'name="generator" content="protea_ray '
_HEAD = 2_000  # bytes in which the mark stands


@dataclass(frozen=True)
class WrittenReport:
    """What was written: the page, its size, the figures beside it, and what the reader should know."""

    path: Path
    bytes: int
    figures: tuple[Path, ...]
    points: int
    proteins: int
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values only."""
        return {**asdict(self), "path": str(self.path), "figures": [str(path) for path in self.figures]}


def write_report(
    location: Location,
    out: Path,
    options: ReportOptions,
    figures: Path | None = None,
    phase: Callable[[str], None] = lambda text: None,
) -> WrittenReport:
    """Read the store and write the page to `out`, and its pictures as PNG and SVG into the folder `figures`.

    Raises ConfigError with every mistake before anything slow begins, the extra `report` that is not installed among
    them; a single one is what it is, as `report_request` says.
    """
    mistakes = Mistakes("report")
    mistakes.catch(lambda: require_writable(out, figures))
    phase("checking what is asked for")
    data = gather(report_request(location, options, mistakes), phase)
    phase("writing the page")
    from protea_ray.reporting.page import page

    text = page(data).encode("utf-8", "replace")
    _write(out, text)
    drawn: tuple[Path, ...] = ()
    if figures is not None:
        from protea_ray.reporting.figures import write_figures

        phase("drawing the figures")
        drawn = tuple(write_figures(figures, data.facts, data.space_map, data.drift))
    shown = data.space_map
    return WrittenReport(
        out, len(text), drawn, len(shown.ids) if shown else 0, data.facts.proteins, shown.notes if shown else ()
    )


def require_writable(out: Path, figures: Path | None) -> None:
    """Raise ConfigError with all that stands in the way of the files, and what must be installed."""
    problems: list[str] = []
    if importlib.util.find_spec("bokeh") is None or not drawable():
        problems.append(f"a report needs Bokeh and matplotlib: `{INSTALL}`")
    if out.is_dir():
        problems.append(f"out: {out} is a directory; name a file in it, such as {out / 'report.html'}")
    elif not out.parent.is_dir():
        problems.append(f"out: there is no directory {out.parent}")
    elif is_file(str(out)) and not _is_report(out):
        problems.append(f"out: {out} is there and is no report; it is not written over")
    if figures is not None and is_file(str(figures)):
        problems.append(f"figures: {figures} is a file; name a directory")
    if problems:
        raise ConfigError(problems, where="report")


def _is_report(path: Path) -> bool:
    with path.open("rb") as file:
        return _MARK in file.read(_HEAD) or path.stat().st_size == 0


def _write(out: Path, text: bytes) -> None:
    """Write beside the file, then put it in its place."""
    handle, beside = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text)
        Path(beside).chmod(0o644)
        Path(beside).replace(out)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
