"""Sequences to search with that need not be in the store: from a person or from files, checked as `embed` checks them.

They are letters of the space's own alphabet. A record that is no protein is left out and named; the others go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from protea_ray.config.recipe import AlphabetName
from protea_ray.errors import InputError
from protea_ray.sequences.inputs import Columns, Scan, expand, scan
from protea_ray.sequences.read import read_part
from protea_ray.sequences.records import RejectedError, key_of, normalise
from protea_ray.sequences.structure_letters import why_3di

_PART_BYTES = 64 << 20
_AN_ID = "; a protein that is stored is searched with --nearest ID, in Python store.nearest(ID)"


@dataclass(frozen=True)
class NewProtein:
    """A query: its name, where it was read (empty: given by itself), its normalised letters and their key."""

    name: str
    place: str
    letters: str
    key: bytes


@dataclass(frozen=True)
class NewProteins:
    """The queries in the order given, and a sentence for each record that is none."""

    proteins: tuple[NewProtein, ...]
    problems: tuple[str, ...]


def read_new(given: Mapping[str, str], files: Sequence[str], alphabet: AlphabetName) -> NewProteins:
    """Check sequences by name, and read `files` (all that `embed` takes as input, - for standard input too).

    A record that comes twice counts once; an id with several sequences gets its place into each further name. Raises
    InputError for a file that cannot be read, and when no protein is left, which names everything that is none.
    """
    found, problems = _given(given, alphabet)
    for scanned in _scanned(files, Columns(alphabet=alphabet)):
        for protein, problem in _records(scanned, alphabet):
            found += [protein] if protein else []
            problems += [problem] if problem else []
    if not found:
        raise InputError(problems or ["no sequence to search with was given"])
    return NewProteins(tuple(_named_apart(found)), tuple(problems))


def require_alphabet(proteins: Sequence[NewProtein], spelt: Sequence[str], space: str, alphabet: AlphabetName) -> None:
    """Raise InputError where the letters seem to be amino acids and the space's are 3Di.

    `spelt`: the sequences that were given as a person wrote them; lower case alone says that they are 3Di.
    """
    raw = [s.encode() for s in spelt] or [p.letters.upper().encode() for p in proteins]
    if alphabet == "3di" and why_3di(raw) is None:
        raise InputError(
            f"space {space} is of structure letters (3Di), and these look like amino acids. Give Foldseek's 3Di "
            "letters, in lower case to say that they are, or choose another --space"
        )


def _given(given: Mapping[str, str], alphabet: AlphabetName) -> tuple[list[NewProtein], list[str]]:
    found: list[NewProtein] = []
    problems: list[str] = []
    for name, text in given.items():
        try:
            letters = normalise(text, alphabet)
        except RejectedError as error:
            hint = _AN_ID if text.isascii() and any(c.isdigit() or c == "|" for c in text) else ""
            problems.append(f"{name} ({text[:20]!r}): {error.detail} ({error.reason}){hint}")
            continue
        found.append(NewProtein(name, "", letters, key_of(letters)))
    return found, problems


def _scanned(files: Sequence[str], columns: Columns) -> Iterator[Scan]:
    for source in expand(files, columns) if files else ():
        yield scan(source, columns, _PART_BYTES)


def _records(scanned: Scan, alphabet: AlphabetName) -> Iterator[tuple[NewProtein | None, str]]:
    """Each record of a file as a protein, or as what is wrong with it."""
    name = scanned.source.name
    for part in scanned.parts:
        for batch in read_part(part, Columns(alphabet=alphabet), name, ""):
            for row in batch.proteins.to_pylist():
                yield NewProtein(row["id"], f"{name}:{row['line']}", row["sequence"], row["key"]), ""
            for row in batch.rejects.to_pylist():
                yield None, f"{name}:{row['line']}: {row['id'] or 'a record'}: {row['detail']} ({row['reason']})"


def _named_apart(found: Sequence[NewProtein]) -> Iterator[NewProtein]:
    """Every (name, key) once, and every name once."""
    keys: dict[str, set[bytes]] = {}
    for protein in found:
        seen = keys.setdefault(protein.name, set())
        if protein.key not in seen:
            seen.add(protein.key)
            yield replace(protein, name=f"{protein.name} ({protein.place})") if len(seen) > 1 else protein
