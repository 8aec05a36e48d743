"""Which classes of a column have a colour of their own in a picture, and which colours those are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MOST_CLASSES = 19  # with colours of their own; more cannot be told apart
LIGHT, DARK = "#ffffff", "#1e1e1e"  # backgrounds on which every colour has the contrast of 3 that WCAG asks of graphics
# each as far as can be from those before it, in OKLab, also for eyes without red or green cones
CLASS_COLOURS: tuple[str, ...] = (
    "#217ac8", "#f46400", "#bc377a", "#2ca664", "#9b5921", "#a67aff", "#c87aa6", "#007a4e", "#8564a6", "#8590c8",
    "#9b9037", "#6f64e9", "#b14ec8", "#f4597a", "#4e9b9b", "#d34343", "#c88559", "#a6646f", "#007a90",
)  # fmt: skip
OTHER_COLOUR, UNKNOWN_COLOUR = "#919191", "#6c6c6c"
UNKNOWN = "no value"


@dataclass(frozen=True)
class ColourClasses:
    """`names` of classes, the most frequent first, then those that stand for the rest and for points without a value.

    `codes` (n,) int16 is the place of each value's class in `names`; `counts` has the number of values of each class,
    and `colours` its colour, as "#rrggbb". `merged` counts the different values that have no class of their own.
    """

    names: tuple[str, ...]
    codes: np.ndarray
    counts: tuple[int, ...]
    colours: tuple[str, ...]
    merged: int


def colour_classes(values: Sequence[str], most: int = MOST_CLASSES) -> ColourClasses:
    """Give the `most` (at most 19) frequent values classes of their own, the first by name of equals; "" is no value.

    >>> colour_classes(["a", "b", "a", "c", ""], most=1).names
    ('a', 'other (2 values)', 'no value')
    """
    frequent = sorted(Counter(value for value in values if value).items(), key=lambda item: (-item[1], item[0]))
    own, rest = [name for name, _ in frequent[:most]], len(frequent) - most
    names, colours = list(own), list(CLASS_COLOURS[: len(own)])
    if rest > 0:
        names.append(f"other ({rest:,} value{'s' * (rest > 1)})")
        colours.append(OTHER_COLOUR)
    if not all(values):
        names.append(UNKNOWN)
        colours.append(UNKNOWN_COLOUR)
    code = {name: place for place, name in enumerate(own)} | {"": len(names) - 1}
    codes = np.fromiter((code.get(value, len(own)) for value in values), np.int16, len(values))
    counts = np.bincount(codes, minlength=len(names)).tolist()
    return ColourClasses(tuple(names), codes, tuple(counts), tuple(colours), max(rest, 0))
