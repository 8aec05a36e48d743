"""The settings under which figures are made and written, and the files that they are written to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from protea_ray.display import printable

if TYPE_CHECKING:
    from protea_ray.pictures.described_figure import DescribedFigure

FORMATS = ("png", "svg", "pdf")
DPI = 150
FONT = "DejaVu Sans"  # comes with matplotlib, so that a picture is the same on every machine
_RC: dict[Any, Any] = {
    "font.family": FONT,
    "font.size": 9,
    "axes.titlesize": 10,
    "figure.titlesize": 10,
    "legend.fontsize": 8,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "text.color": "black",
    "text.usetex": False,
    "text.parse_math": False,  # an id may hold dollars
    "svg.fonttype": "none",  # letters stay letters: they can be searched and read aloud
    "svg.hashsalt": "protea_ray",  # the same figure is the same file
    "pdf.fonttype": 42,
}


@contextmanager
def drawing() -> Iterator[None]:
    """This style while a figure is made or written; a user's own settings come back after it."""
    import matplotlib

    with matplotlib.rc_context(_RC):
        yield


def write_figure(figure: DescribedFigure, file: str | Path | IO[bytes], format: str) -> None:
    """Write a figure as one of FORMATS with its title and description inside; the same figure gives the same bytes."""
    title, description = printable(figure.title), printable(figure.description)
    metadata: dict[str, dict[str, str | None]] = {
        "png": {"Title": title, "Description": description, "Software": None},
        "svg": {"Title": title, "Description": description, "Date": None},
        "pdf": {"Title": title, "Subject": description, "CreationDate": None, "Creator": None, "Producer": None},
    }
    with drawing():
        figure.savefig(file, format=format, dpi=DPI, metadata=metadata[format])
