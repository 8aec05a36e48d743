"""The names of a protein besides its id: the accession in a FASTA header, the entry name, the accession's version.

Ids are stored as they stand in their file, `sp|P12345|AATM_RABIT`; other people's tables have the bare accession, or
the other way round. `match_ids` finds a stored id for each id that is asked for: by the same text first, then by

* the accession in the headers of UniProt (sp, tr, UniRef), NCBI (ref, gb, emb, dbj, tpg, tpe, tpd, pir, prf, pdb, lcl,
  gnl, with or without gi), of the PDB and of AlphaFold DB,
* UniProt's entry name (`AATM_RABIT`),
* the accession without its version, where the version is left out in what is asked for.

Another version or another isoform is another sequence: `NP_000001.1` is never `NP_000001.2`, nor `P12345` `P12345-2`.
A GI number is no name here: a column of plain integers means anything. Where several stored ids share a name none is
taken. Columns are compared as a whole: half a million ids against 2 million stored ones take about 4 seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_UNIPROT = r"(?:[OPQ][0-9][A-Z0-9]{3}[0-9]|[A-NR-Z][0-9](?:[A-Z][A-Z0-9]{2}[0-9]){1,2})"
_HEADERS = (  # one group each: what other tables call the protein
    r"(?:gi\|\d+\|)?(?:sp|tr|ref|gb|emb|dbj|tpg|tpe|tpd)\|([^|]+)(?:\|.*)?",
    r"(?:gi\|\d+\|)?(?:pir|prf)\|[^|]*\|([^|]+)",
    r"(?:gi\|\d+\|)?pdb\|([^|]+\|[^|]+)(?:\|.*)?",
    r"UniRef(?:100|90|50)_(.+)",
    r"lcl\|(.+)",
    r"gnl\|[^|]+\|(.+)",
    r"([0-9][A-Za-z0-9]{3}_[0-9]+)\|Chains?",
    r"(?:AFDB:)?AF-([A-Z0-9]+)-F1(?:-model_v\d+)?",
    rf"(?:sp|tr)_({_UNIPROT}(?:-\d+)?)_\w+",  # as HDF5 writers rewrite it
)
_HEADER = f"^(?:{'|'.join(_HEADERS)})$"
_GROUPS = "".join(rf"\{number}" for number in range(1, len(_HEADERS) + 1))
_ENTRY_NAME = r"^(?:gi\|\d+\|)?(?:sp|tr)\|[^|]+\|([^|]+)$"
_VERSIONED = rf"^({_UNIPROT}|[A-Z]{{2}}_\d{{6,9}}|[A-Z]{{3}}\d{{5,7}}|ENS[A-Z]*P\d{{6,}})\.\d+$"
_NOT_KEPT = r"[|/.:\s]"  # characters that writers of HDF5 replace

WAYS = ("id", "accession", "UniProt entry name", "accession without its version", "id with other punctuation")
_SHOWN = 3


def accessions(ids: pa.Array) -> pa.Array:
    """The accession in each id; an id that is no header of the kinds above stays as it is.

    >>> accessions(pa.array(["sp|P12345-2|A_B", "gi|5|ref|NP_1.1|", "UniRef50_Q0", "pdb|1ABC|A", "x|y"])).to_pylist()
    ['P12345-2', 'NP_1.1', 'Q0', '1ABC_A', 'x|y']
    """
    found = pc.replace_substring_regex(ids, _HEADER, _GROUPS)
    return pc.replace_substring_regex(found, r"^([0-9][A-Za-z0-9]{3})\|([^|]+)$", r"\1_\2")


def entry_names(ids: pa.Array) -> pa.Array:
    """UniProt's entry name in each id; other ids stay as they are.

    >>> entry_names(pa.array(["tr|A0A0F1|A0A0F1_MOUSE", "A0A0F1"])).to_pylist()
    ['A0A0F1_MOUSE', 'A0A0F1']
    """
    return pc.replace_substring_regex(ids, _ENTRY_NAME, r"\1")


def without_versions(ids: pa.Array) -> pa.Array:
    """The accession in each id without its version. The end of a gene model's name is no version.

    >>> without_versions(pa.array(["ref|NP_000001.12|", "ENSP00000354587.3", "AT1G01010.1"])).to_pylist()
    ['NP_000001', 'ENSP00000354587', 'AT1G01010.1']
    """
    return pc.replace_substring_regex(accessions(ids), _VERSIONED, r"\1")


def stems(ids: pa.Array) -> pa.Array:
    """The accession in each id without version and isoform: what ids share that are easily taken for one another.

    >>> stems(pa.array(["sp|P12345-2|A_B", "NP_000001.12"])).to_pylist()
    ['P12345', 'NP_000001']
    """
    return pc.replace_substring_regex(without_versions(ids), rf"^({_UNIPROT})-\d+$", r"\1")


def rewritten(ids: pa.Array) -> pa.Array:
    """Ids as programs write them that name data sets of HDF5 by them.

    >>> rewritten(pa.array(["sp|P12345|A_B", "NP_1.1"])).to_pylist()
    ['sp_P12345_A_B', 'NP_1_1']
    """
    return pc.replace_substring_regex(ids, _NOT_KEPT, "_")


@dataclass(frozen=True)
class IdMatch:
    """What each of the ids `asked` for, (n,), stands for.

    `ids`: the stored id, null where there is none or no single one. `way`: the number of WAYS that led there, -1 for
    none. `several`: True where stored ids share the name, so that none was taken. `choices` names them for the first
    few, and for ids that are stored and are another id's accession as well (`also`).
    """

    asked: pa.Array
    ids: pa.Array
    way: np.ndarray
    several: np.ndarray
    also: np.ndarray
    choices: dict[str, tuple[str, ...]]

    def sentences(self) -> list[str]:
        """One sentence for each way other than the same text, and one for ids that have a second meaning."""
        said: list[str] = []
        for number, way in enumerate(WAYS[1:], 1):
            rows = np.flatnonzero((self.way == number) & ~self.several)
            if len(rows):
                said.append(f"{len(rows):,} of {len(self.asked):,} ids were matched by {way} ({self._pairs(rows)})")
        if self.also.any():
            some = self._first(self.also)
            named = "; ".join(f"{id} is also the accession of {self._others(id)}" for id in some)
            said.append(f"{int(self.also.sum()):,} id(s) are stored and other proteins' accession, and were taken as "
                        f"ids ({named})")  # fmt: skip
        return said

    def ambiguities(self) -> list[str]:
        """For the first few ids that several stored ids share, which these are."""
        return [f"{id!r} may be {' or '.join(self.choices[id])}" for id in self._first(self.several)]

    def _first(self, which: np.ndarray) -> list[str]:
        return list(dict.fromkeys(_texts(self.asked, np.flatnonzero(which)[:_SHOWN])))

    def _others(self, id: str) -> str:
        return ", ".join(other for other in self.choices[id] if other != id)

    def _pairs(self, rows: np.ndarray) -> str:
        some = rows[:_SHOWN]
        pairs = zip(_texts(self.asked, some), _texts(self.ids, some), strict=True)
        return ", ".join([*(f"{asked} is {stored}" for asked, stored in pairs), *["..."] * (len(rows) > _SHOWN)])


class StoredIds:
    """Ids of a store with their names, each of which is worked out once. An id may come more than once.

    `hdf5` also compares ids with their punctuation replaced, as names in HDF5 have it.
    """

    def __init__(self, ids: pa.Array | pa.ChunkedArray, *, hdf5: bool = False) -> None:
        self.ids = _wide(ids)
        self.ways = _NAMES if hdf5 else _NAMES[:-1]
        self._named: dict[int, pa.Array] = {}

    def names(self, number: int) -> pa.Array:
        """The names by which way `number` of `ways` compares."""
        if number not in self._named:
            self._named[number] = self.ways[number][1](self.ids)
        return self._named[number]


def match_ids(asked: Sequence[str] | pa.Array, stored: pa.Array | pa.ChunkedArray | StoredIds) -> IdMatch:
    """Find the stored id of each id that is asked for.

    >>> match_ids(["P1", "b", "sp|Q2|Y"], pa.array(["sp|P1|X", "b", "Q2"])).ids.to_pylist()
    ['sp|P1|X', 'b', 'Q2']
    """
    asked = _wide(asked)
    stored = stored if isinstance(stored, StoredIds) else StoredIds(stored)
    ids, way, several = pa.nulls(len(asked), pa.large_string()), np.full(len(asked), -1), np.zeros(len(asked), bool)
    also, choices = several, dict[str, tuple[str, ...]]()
    for number, (of_asked, _) in enumerate(stored.ways):
        if number > 1 and (way >= 0).all():  # accessions are compared even so: a stored id may be another one's
            break
        names = of_asked(asked)
        hits = _hits(names, stored.ids, stored.names(number))
        if number == 1:
            also = (way == 0) & (hits.count > 1) & pc.equal(names, asked).to_numpy(zero_copy_only=False)
            choices |= hits.choices(asked, also)
        new = (way < 0) & (hits.count > 0)
        ids = pc.if_else(pa.array(new & (hits.count == 1)), hits.ids, ids)
        several |= new & (hits.count > 1)
        choices |= hits.choices(asked, new & (hits.count > 1))
        way = np.where(new, number, way)
    return IdMatch(asked, ids, way, several, also, choices)


def _unchanged(ids: pa.Array) -> pa.Array:
    return ids


# for each of WAYS the names that must be equal: of an id that is asked for, and of a stored one
_Naming = Callable[[pa.Array], pa.Array]
_NAMES: tuple[tuple[_Naming, _Naming], ...] = (
    (_unchanged, _unchanged),
    (accessions, accessions),
    (_unchanged, entry_names),
    (accessions, without_versions),
    (rewritten, rewritten),
)


def _wide(ids: Any) -> pa.Array:
    """One array of ids, with offsets of 64 bits: all ids of a large store take more than 2 GB."""
    kind = pa.large_string()
    if not isinstance(ids, pa.Array | pa.ChunkedArray):
        return pa.array(list(ids), kind)
    wide = ids.cast(kind)
    return wide.combine_chunks() if isinstance(wide, pa.ChunkedArray) else wide


@dataclass(frozen=True)
class _Hits:
    """`count` (n,): how many distinct stored ids have each name; `ids` (n,): the first of them, or null.

    Those of name `code[i]` are `stored` at `which`, from `first[code[i]]` on.
    """

    count: np.ndarray
    ids: pa.Array
    stored: pa.Array
    which: np.ndarray
    first: np.ndarray

    def choices(self, asked: pa.Array, rows: np.ndarray) -> dict[str, tuple[str, ...]]:
        """The stored ids of the first few of these rows."""
        some = np.flatnonzero(rows)[:_SHOWN]
        spans = [self.which[self.first[i] : self.first[i] + self.count[i]][:_SHOWN] for i in some]
        return {id: tuple(_texts(self.stored, span)) for id, span in zip(_texts(asked, some), spans, strict=True)}


def _hits(names: pa.Array, stored: pa.Array, stored_names: pa.Array) -> _Hits:
    """Which stored ids have each of `names`. The hash table holds the names; stored ids only pass through it."""
    once = names.dictionary_encode()
    code = once.indices.to_numpy(zero_copy_only=False)
    at = pc.call_function("index_in", [stored_names], pc.SetLookupOptions(once.dictionary)).fill_null(-1).to_numpy()
    rows = np.flatnonzero(at >= 0)
    hit = stored.take(pa.array(rows)).dictionary_encode()
    width = max(1, len(hit.dictionary))
    pairs = np.unique(at[rows].astype(np.int64) * width + hit.indices.to_numpy(zero_copy_only=False))
    name, which = np.divmod(pairs, width)
    count = np.bincount(name, minlength=len(once.dictionary))
    first = np.cumsum(count) - count
    has = count[code] > 0
    ids = hit.dictionary.take(pa.array(which[first[code][has]]))
    return _Hits(count[code], _spread(ids, has), hit.dictionary, which, first[code])


def _spread(values: pa.Array, has: np.ndarray) -> pa.Array:
    """The values in turn where `has` is True, else null."""
    return values.take(pa.array(np.cumsum(has) - 1, mask=~has))


def examples(ids: Sequence[str]) -> str:
    """The first few of some ids, for a message.

    >>> examples(["a", "b", "c", "d"])
    "'a', 'b', 'c', ..."
    """
    return ", ".join([*(repr(id) for id in ids[:_SHOWN]), *["..."] * (len(ids) > _SHOWN)])


def _texts(ids: pa.Array, rows: np.ndarray) -> list[str]:
    return ids.take(pa.array(rows, pa.int64())).to_pylist()
