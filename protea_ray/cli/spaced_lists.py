"""`--pooling mean max`: a list with spaces, where this program takes commas or the option once more.

Other programs (fair-esm's `--include mean per_tok`) take it so. Here the words after the first would be inputs or,
worse, the store. So they are refused before anything starts, with the command that was meant in the person's words.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

Lists = Mapping[str, Sequence[str]]  # names that a list option takes, by the option; none: whole numbers
_MOST_WORDS = 16  # of a command that is printed again; the shell may have written thousands for a pattern


def meant(arguments: Sequence[str], lists: Lists) -> tuple[str, list[str]] | None:
    """The option whose list was written with spaces, and the arguments as they should be; None where all is well.

    >>> meant(["p.fasta", "store", "--pooling", "mean", "max"], {"--pooling": ("mean", "max")})
    ('--pooling', ['p.fasta', 'store', '--pooling', 'mean,max'])
    >>> meant(["--layers=0", "1", "p.fasta", "store"], {"--layers": ()})
    ('--layers', ['--layers=0,1', 'p.fasta', 'store'])
    >>> meant(["p.fasta", "mean", "--pooling", "max"], {"--pooling": ("mean", "max")}) is None
    True
    """
    for place, word in enumerate(arguments):
        if word == "--":
            return None
        option, equals, _ = word.partition("=")
        if option not in lists:
            continue
        value = place if equals else place + 1
        after = value + 1
        while after < len(arguments) and _is_of_the_list(arguments[after], lists[option]):
            after += 1
        if after > value + 1:
            joined = ",".join(part.strip(",") for part in arguments[value:after])
            return option, [*arguments[:value], joined, *arguments[after:]]
    return None


def meant_again(arguments: Sequence[str], repeatable: Sequence[str], extra: Sequence[str]) -> list[str] | None:
    """The arguments with the option once more before each word of `extra` that follows its value; None: none does.

    >>> meant_again(["store", "--id", "A", "B", "C"], ["--id"], ["B", "C"])
    ['store', '--id', 'A', '--id', 'B', '--id', 'C']
    """
    written, option = list[str](), ""
    found = False
    for place, word in enumerate(arguments):
        if option and word in extra and not word.startswith("-"):
            written.append(option)
            found = True
        elif place and arguments[place - 1] != option:
            option = ""
        if word in repeatable:
            option = word
        written.append(word)
    return written if found else None


def _is_of_the_list(word: str, names: Sequence[str]) -> bool:
    parts = [part for part in word.split(",") if part]
    return bool(parts) and all(part in names if names else part.isdecimal() for part in parts)


def quoted(words: Sequence[str]) -> str:
    """A command as it is typed, the middle of a very long one left out."""
    if len(words) <= _MOST_WORDS:
        return shlex.join(words)
    half = _MOST_WORDS // 2
    return f"{shlex.join(words[:half])} ... {shlex.join(words[-half:])}"
