"""Names that a file needs to be different, or without some characters, where ids are neither."""

from __future__ import annotations

from collections.abc import Container, Sequence

_SHOWN = 3


def free_name(wanted: str, taken: Container[str]) -> str:
    """`wanted`, or with a number behind it where it is taken.

    >>> free_name("a", ["a", "a-2"])
    'a-3'
    """
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    return name


def plain_name(wanted: str) -> str:
    """`wanted` as one name of HDF5, where `/` makes a group and `.` is the file itself.

    >>> plain_name("sp/P1"), plain_name(".")
    ('sp_P1', '_')
    """
    return "_" if wanted == "." else wanted.replace("/", "_")


def named_otherwise(renamed: Sequence[tuple[str, str]]) -> str:
    """The first few of what has another name, for a message.

    >>> named_otherwise([("a/b", "a_b")])
    "'a/b' is named 'a_b'"
    """
    shown = ", ".join(f"{before!r} is named {after!r}" for before, after in renamed[:_SHOWN])
    return f"{shown}{', ...' * (len(renamed) > _SHOWN)}"
