"""How every picture of this package looks, and how it is written. matplotlib is imported when something is drawn.

Okabe and Ito's colours, which differ for colour-blind eyes too, on white: a page with a dark background shows them on
their own. Texts of a store are data: they are cut, and neither mathematics nor markup is read in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from protea_ray.display import printable
from protea_ray.errors import ConfigError

if TYPE_CHECKING:
    from protea_ray.pictures.described_figure import DescribedFigure

INSTALL = 'pip install "protea-ray[report]"'
FORMATS = ("png", "svg", "pdf")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
BLUE, ORANGE, GREEN, PINK, SKY, YELLOW, BLACK = COLOURS
GREY, GRID = "#666666", "#e5e5e5"
DPI = 150
_MARKERS = "osD^vP*X"
_FONT = "DejaVu Sans"  # comes with matplotlib, so that a picture is the same on every machine
_RC: dict[Any, Any] = {
    "font.family": _FONT,
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


def drawable() -> bool:
    """Whether matplotlib is installed."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        return False
    return True


def require_matplotlib() -> None:
    """Raise ConfigError with the command that installs matplotlib where it is missing."""
    if not drawable():
        raise ConfigError(f"pictures need matplotlib, which is not installed: {INSTALL}", where="pictures")


@contextmanager
def drawing() -> Iterator[None]:
    """This style while a figure is made or written; a user's own settings come back after it."""
    import matplotlib

    with matplotlib.rc_context(_RC):
        yield


def new_figure(title: str, description: str, width: float = 8.0, height: float = 4.5) -> DescribedFigure:
    """An empty figure, in inches, with its title above. Raises ConfigError without matplotlib. Call it in `drawing`."""
    from protea_ray.pictures.described_figure import DescribedFigure

    figure = DescribedFigure(figsize=(width, height), layout="constrained")
    figure.title, figure.description = title, description
    figure.suptitle(label(title, 110))
    return figure


def blank_figure(title: str, sentence: str) -> DescribedFigure:
    """A figure that says why there is nothing to see."""
    with drawing():
        figure = new_figure(title, sentence, 8.0, 2.0)
        axes = figure.subplots()
        axes.set_axis_off()
        axes.text(0.5, 0.5, label(sentence, 110), ha="center", va="center", color=GREY, fontsize=10)
    return figure


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


def panel(axes: Any, title: str, x: str, y: str) -> None:
    """Name a panel and its axes, and draw a grid behind it."""
    axes.set_title(title, fontsize=9)
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)


def count_axis(axis: Any) -> None:
    """Ticks at whole numbers, thousands separated."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True, nbins=7, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def named_rows(axes: Any, names: Sequence[str], most: int = 40) -> None:
    """Rows 0, 1, 2 ... from the top, each with its name; equal names keep rows of their own."""
    axes.set_yticks(range(len(names)), [label(name, most) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=GRID, linewidth=0.7)


def label(text: str, most: int = 40) -> str:
    """A text of a store as a picture shows it: at most so many letters, and a mark for those that the font lacks."""
    cut = printable(text if len(text) <= most else f"{text[: most - 1]}\N{HORIZONTAL ELLIPSIS}")
    return "".join(letter if ord(letter) in _glyphs() else "\N{REPLACEMENT CHARACTER}" for letter in cut)


@lru_cache(maxsize=1)
def _glyphs() -> frozenset[int]:
    """The characters that the font of the pictures has."""
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont(_FONT)).get_charmap())


@dataclass(frozen=True)
class Look:
    """How a thing that is compared is drawn everywhere: hollow and grey for a control."""

    colour: str
    marker: str
    hollow: bool

    def style(self) -> dict[str, Any]:
        """Keywords of matplotlib's errorbar."""
        return {"color": self.colour, "marker": self.marker, "linestyle": "none", "markersize": 5.5, "capsize": 2,
                "elinewidth": 1.0, "markerfacecolor": "white" if self.hollow else self.colour}  # fmt: skip


def marker_of(number: int) -> str:
    """The marker of the `number`-th thing that is compared."""
    return _MARKERS[number % len(_MARKERS)]


def look_of(number: int) -> Look:
    """The look of the `number`-th thing that is compared; colours and markers turn at different paces, so 56 differ."""
    return Look(COLOURS[number % len(COLOURS)], marker_of(number), False)


def plain_figure(width: float, height: float) -> Any:
    """An empty figure, in inches, of a report that has its own words beside it."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def grid_of_panels(panels: int, entries: int) -> tuple[Any, list[Any]]:
    """A figure of at most three panels a row, the places that are too many left empty; and its axes in one list."""
    columns = min(panels, 3)
    rows = -(-panels // columns)
    figure = plain_figure(max(4.3 * columns, 6.5), 3.1 * rows + 0.5 + 0.2 * entries)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for empty in axes[panels:]:
        empty.set_axis_off()
    return figure, axes


def save_with_legend(figure: Any, axes: Any, path: Path, entries: int) -> None:
    """Put one legend under all panels, names whole, and write the picture."""
    handles: dict[str, Any] = {}
    for one in axes:
        handles.update(dict(zip(*reversed(one.get_legend_handles_labels()), strict=True)))
    columns = 2 if entries > 3 and max(map(len, handles), default=0) < 45 else 1
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=columns, fontsize=8, frameon=False)
    figure.savefig(path, dpi=DPI)
