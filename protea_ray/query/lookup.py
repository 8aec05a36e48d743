"""From an id that a person asks for to the records and the one sequence that it stands for.

An id is looked up by the same text and then by accession (`sequences.accessions`). One id may stand for several
sequences, where a file was embedded again after it was corrected: the newest one is taken, which is that of the source
that was recorded last, among those that have a vector in the space. Both are said in the log, and nothing is taken
where two ids share the accession.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from protea_ray.errors import StoreError
from protea_ray.query.view import View
from protea_ray.sequences.accessions import accessions, examples, match_ids, stems
from protea_ray.store.keys import KeyIndex
from protea_ray.store.location import SOURCES_TABLE, Location
from protea_ray.store.sql import among
from protea_ray.store.tables import find_table

_IDS_OF_ONE_FILTER = 1000  # above this the ids of the whole store are read: 80 ms for 2 million, and no pattern
_PLAIN = re.compile(r"[A-Za-z0-9_.\-]+")  # accessions and entry names; nothing else goes into a pattern
VERSION = ("id", "key", "length", "source")  # what tells an id's sequences apart
_CHAIN = re.compile(r"[0-9][A-Za-z0-9]{3}_[A-Za-z0-9]+")  # stored as pdb|1ABC|A
_log = logging.getLogger("protea_ray")


@dataclass(frozen=True)
class FoundIds:
    """`stored` is the stored id of each id that was asked for and is known; `unknown` are the others, in order.

    `near` names stored ids that differ from an unknown one in version or isoform alone.
    """

    stored: dict[str, str]
    unknown: tuple[str, ...]
    near: dict[str, tuple[str, ...]]

    def why_unknown(self, id: str) -> str:
        """What is stored in its place, if anything is close."""
        others = self.near.get(id, ())
        return f" (another version or isoform is: {', '.join(others)})" if others else ""


def find_ids(view: View, asked: Sequence[str]) -> FoundIds:
    """Look ids up among all protein records; logs what was matched by accession.

    Raises StoreError for an id that several stored ids share, which names them.
    """
    once = list(dict.fromkeys(asked))
    candidates = _candidates(view, once)
    match = match_ids(once, candidates)
    if match.several.any():
        raise StoreError(f"{int(match.several.sum()):,} of {len(once):,} ids stand for several proteins of "
                         f"{view.location.uri}: {'; '.join(match.ambiguities())}. Ask for the whole id")  # fmt: skip
    say(match.sentences())
    ids = match.ids.to_pylist()
    unknown = tuple(id for id, stored in zip(once, ids, strict=True) if stored is None)
    stored = {id: found for id, found in zip(once, ids, strict=True) if found is not None}
    return FoundIds(stored, unknown, _near(unknown[:_IDS_OF_ONE_FILTER], candidates))


def _candidates(view: View, asked: list[str]) -> pa.ChunkedArray:
    """Every stored id that may be meant: those that are equal, or hold the accession of one that is asked for."""
    if len(asked) > _IDS_OF_ONE_FILTER or not asked:
        return view.proteins.to_table(columns=["id"])["id"] if asked else pa.chunked_array([], pa.string())
    column = pa.array(asked, pa.string())
    names = {*asked, *accessions(column).to_pylist(), *stems(column).to_pylist()}
    plain = sorted(name for name in names if _PLAIN.fullmatch(name))
    same = among("id", sorted(names))
    chains = [name.replace("_", "|") for name in plain if _CHAIN.fullmatch(name)]
    pattern = "|".join(re.escape(name) for name in [*plain, *chains])
    within = f" OR regexp_like(id, '(^|[|_-])({pattern})([|.-]|$)')" if plain else ""
    return view.proteins.to_table(columns=["id"], filter=same + within)["id"]


def _near(unknown: Sequence[str], candidates: pa.ChunkedArray) -> dict[str, tuple[str, ...]]:
    """Stored ids that share the accession of an unknown id but for version and isoform."""
    if not unknown or not len(candidates):
        return {}
    wanted = stems(pa.array(unknown, pa.string())).to_pylist()
    stored = stems(candidates.combine_chunks())
    rows = pc.call_function("is_in", [stored], pc.SetLookupOptions(pa.array(wanted, stored.type)))
    close: dict[str, set[str]] = {}
    pairs = zip(stored.filter(rows).to_pylist(), candidates.filter(rows).to_pylist(), strict=True)
    for stem, id in pairs:
        close.setdefault(stem, set()).add(id)
    return {id: tuple(sorted(close[stem])[:3]) for id, stem in zip(unknown, wanted, strict=True) if stem in close}


def examples_of_ids(view: View) -> str:
    """What ids of the store look like, for a message about ids that it does not have."""
    some = view.proteins.to_table(columns=["id"], limit=4)["id"].to_pylist()
    return f"its ids look like {examples(some)}" if some else "it holds no proteins"


def say(sentences: Iterable[str]) -> None:
    """Log what a person must know of how ids were understood; a warning, since others are not shown unasked."""
    for sentence in sentences:
        _log.warning("%s", sentence)


def added_times(location: Location, labels: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """When the source of each record was recorded, (n,) int64 microseconds; 0 for one without a row in `sources`."""
    table = find_table(location.table(SOURCES_TABLE))
    if table is None:
        return np.zeros(len(labels), np.int64)
    sources = table.to_table(columns=["source", "added"]).sort_by("added")
    when = dict(zip(sources["source"].to_pylist(), sources["added"].cast(pa.int64()).to_pylist(), strict=True))
    return np.array([when.get(label, 0) for label in labels.to_pylist()], np.int64)


def newest_rows(owner: np.ndarray, keys: pa.Array, added: np.ndarray, has_vector: np.ndarray) -> np.ndarray:
    """(n,) True for the records with the newest key of their owner.

    All arguments are (n,), in the order in which the records were stored. `owner` numbers the ids. A key that has a
    vector comes before one that has none, whatever their age; of equal age the one stored last is newer.

    >>> keys = pa.array([b"old", b"new", b"old"])
    >>> newest_rows(np.zeros(3, int), keys, np.array([1, 2, 3]), np.ones(3, bool)).tolist()
    [True, False, True]
    """
    code = keys.dictionary_encode().indices.to_numpy(zero_copy_only=False)
    order = np.lexsort((np.arange(len(owner)), added, has_vector, owner))
    last = np.flatnonzero(np.append(np.diff(owner[order]) != 0, True)) if len(order) else order
    chosen = np.zeros(int(owner.max(initial=0)) + 1, np.int64)
    chosen[owner[order][last]] = code[order][last]
    return code == chosen[owner]


def records_of(view: View, found: FoundIds, columns: Sequence[str]) -> pa.Table:
    """Every record of the ids that were found, with id, key, length and source before `columns`, in row order."""
    needed = dict.fromkeys([*VERSION, *columns])
    return view.records_by("id", list(found.stored.values()), list(needed))


def newest(view: View, records: pa.Table) -> pa.Table:
    """Of an id with several sequences only the records of the newest one; logs which, by their residues.

    `records` hold id, key, length and source, in row order.
    """
    ids = records["id"].combine_chunks().dictionary_encode()
    owner = ids.indices.to_numpy(zero_copy_only=False)
    keys = records["key"].combine_chunks()
    several = records.group_by("id").aggregate([("key", "count_distinct")]).filter(pc.field("key_count_distinct") > 1)
    if not len(several):
        return records
    has = KeyIndex(view.rows_of(keys, [])["key"]).contains(keys)
    kept = newest_rows(owner, keys, added_times(view.location, records["source"]), has)
    say([_which(records, kept, set(several["id"].to_pylist()), view.pin.space)])
    return records.filter(pa.array(kept))


def _which(records: pa.Table, kept: np.ndarray, several: set[str], space: str) -> str:
    """Which sequence of an id was taken, for the first few ids that have several."""
    lengths: dict[str, dict[bytes, int]] = {id: {} for id in several}
    taken: dict[str, str] = {}
    for row, keep in zip(records.select(VERSION).to_pylist(), kept.tolist(), strict=True):
        if row["id"] in several:
            lengths[row["id"]][row["key"]] = row["length"]
            taken |= {row["id"]: f"{row['length']:,}, from {row['source']}"} if keep else {}
    named = [f"{id} ({' and '.join(f'{n:,}' for n in lengths[id].values())} residues; that of {taken[id]})"
             for id in sorted(several)[:3]]  # fmt: skip
    more = ", ..." if len(several) > 3 else ""
    return (f"{len(several):,} id(s) have several sequences, and the newest with a vector in {space} is used: "
            f"{', '.join(named)}{more}")  # fmt: skip


def ordered(records: pa.Table, column: str, asked: Sequence[str | bytes]) -> tuple[pa.Table, list[str | bytes]]:
    """Records in the order of `asked`, each as often as asked; and what is not among them."""
    rows: dict[str | bytes, list[int]] = {}
    for row, value in enumerate(records[column].to_pylist()):
        rows.setdefault(value, []).append(row)
    order = [row for value in asked for row in rows.get(value, ())]
    absent = [value for value in dict.fromkeys(asked) if value not in rows]
    return records.take(pa.array(np.array(order, np.int64))), absent


def of_pairs(records: pa.Table, pairs: pa.Table) -> pa.Table:
    """The records whose id and key are together in `pairs`."""
    kept = set(zip(pairs["id"].to_pylist(), pairs["key"].to_pylist(), strict=True))
    rows = zip(records["id"].to_pylist(), records["key"].to_pylist(), strict=True)
    return records.filter(pa.array([row in kept for row in rows], pa.bool_()))
