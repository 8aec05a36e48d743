"""Groups of tested proteins by their length: the ends of the groups, and the names of the subsets that follow.

The ends 1,022 and 2,046 make `up_to_1022`, `1023_to_2046` and `above_2046`: what ESM-2's training crops hold, up to
twice of it, and above. These names stand in the rows of stored results.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast

from protea_ray.errors import ConfigError

LENGTHS = (1022, 2046)
WHOLE_SUBSETS = ("all", "without_relatives")  # which do not follow from lengths
_BOUNDS = re.compile(r"up_to_(?P<most>\d+)|(?P<low>\d+)_to_(?P<high>\d+)|above_(?P<over>\d+)")


def length_subsets(lengths: Sequence[int]) -> dict[str, tuple[int, int | None]]:
    """The shortest and the longest protein of each group in residues, by the name of the subset; None: no longest.

    >>> length_subsets((254, 510))
    {'up_to_254': (1, 254), '255_to_510': (255, 510), 'above_510': (511, None)}
    """
    first, *rest = lengths
    found: dict[str, tuple[int, int | None]] = {f"up_to_{first}": (1, first)}
    for low, high in zip(lengths, rest, strict=False):
        found[f"{low + 1}_to_{high}"] = (low + 1, high)
    return found | {f"above_{lengths[-1]}": (lengths[-1] + 1, None)}


def group_in_words(subset: str) -> str | None:
    """The group of a subset as tables show it; None for a subset that is not of lengths.

    >>> group_in_words("1023_to_2046"), group_in_words("above_510"), group_in_words("all")
    ('1,023 to 2,046', 'above 510', None)
    """
    found = _BOUNDS.fullmatch(subset)
    if found is None:
        return None
    most, low, high, over = (int(n) if n else 0 for n in found.group("most", "low", "high", "over"))
    return f"{low:,} to {high:,}" if high else f"up to {most:,}" if most else f"above {over:,}"


def shortest_of(subset: str) -> int:
    """The shortest protein of a subset of lengths, in residues, by which groups are put in order."""
    found = _BOUNDS.fullmatch(subset)
    low, over = (int(n or 0) for n in found.group("low", "over")) if found else (0, 0)
    return low or over + 1


def read_lengths(given: Any, where: str = "lengths") -> tuple[int, ...]:
    """Check the ends of groups, a list or text with commas; raises ConfigError.

    >>> read_lengths("254,510"), read_lengths([1022])
    ((254, 510), (1022,))
    """
    if problem := lengths_problem(given):
        raise ConfigError(problem, where=where)
    return tuple(int(part) for part in _parts(given))


def lengths_problem(given: Any) -> str:
    """In words, why these are no ends of groups; empty where they are."""
    parts = _parts(given)
    numbers = [int(part) for part in parts if re.fullmatch(r"\d{1,6}", part)]
    if not parts or len(numbers) < len(parts) or min(numbers) < 1 or sorted(set(numbers)) != numbers:
        return f"the ends of length groups are whole numbers of residues that rise, such as 254,510 (got {given!r:.80})"
    return ""


def _parts(given: Any) -> list[str]:
    if isinstance(given, str):
        return [part.strip() for part in given.split(",")]
    return [str(part) for part in cast("Sequence[Any]", given)] if isinstance(given, list | tuple) else [str(given)]
