"""Classes with colours of their own: the most frequent, and what stands for the rest."""

from __future__ import annotations

import numpy as np
import pytest

from protea_ray.pictures.colours import (
    CLASS_COLOURS,
    DARK,
    LIGHT,
    MOST_CLASSES,
    OTHER_COLOUR,
    UNKNOWN_COLOUR,
    colour_classes,
)


def test_the_most_frequent_values_keep_their_names() -> None:
    values = [f"class {n:04d}" for n in range(2_000) for _ in range(1 + (n % 50 == 7) * (n // 50))]

    found = colour_classes([*values, "", ""])

    frequent = sorted(set(values), key=lambda name: (-values.count(name), name))[:MOST_CLASSES]
    assert found.names == (*frequent, "other (1,981 values)", "no value")
    assert found.merged == 1_981
    assert found.counts == (*map(values.count, frequent), len(values) - sum(map(values.count, frequent)), 2)
    assert found.colours == (*CLASS_COLOURS, OTHER_COLOUR, UNKNOWN_COLOUR)
    shown = [found.names[code] for code in found.codes]
    assert all(
        name == (value if value in frequent else "other (1,981 values)")
        for name, value in zip(shown, [*values, "", ""], strict=True)
        if value
    )
    assert shown[-1] == "no value"


def test_few_values_have_no_other_and_a_value_may_be_called_other() -> None:
    assert colour_classes(["other", "b", "other"]).names == ("other", "b")
    assert colour_classes([""] * 3).names == ("no value",)
    none = colour_classes([])
    assert (none.names, none.counts, none.codes.tolist()) == ((), (), [])


def luminance(colour: str) -> float:
    """As WCAG 2 defines it."""
    values = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("background", [LIGHT, DARK])
def test_every_colour_stands_out_from_the_background(background: str) -> None:
    assert len({*CLASS_COLOURS, OTHER_COLOUR, UNKNOWN_COLOUR}) == MOST_CLASSES + 2
    for colour in (*CLASS_COLOURS, OTHER_COLOUR, UNKNOWN_COLOUR):
        dark, light = sorted([luminance(colour), luminance(background)])
        assert (light + 0.05) / (dark + 0.05) >= 3
