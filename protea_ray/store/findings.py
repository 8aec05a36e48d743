"""What can be wrong with a store, how bad it is, and in which of four states the store is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from protea_ray.display import first_of

KEYS_NAMED = 10  # of each finding; `count` tells how many there are
IDS_NAMED = 3

DAMAGE, INCOMPLETE, LITTER = "damage", "incomplete", "litter"
SEVERITY = {
    "unreadable": DAMAGE,  # a table or data file that cannot be read
    "checksum": DAMAGE,  # a row whose values are not those that were written
    "non_finite": DAMAGE,  # NaN or Inf in a vector
    "dimension": DAMAGE,  # a column or matrix of another size than the space's
    "duplicate": DAMAGE,  # one key and chunk in several rows
    "wrong_key": DAMAGE,  # a protein whose key is not that of its letters
    "wrong_length": DAMAGE,  # a protein whose length is not that of its letters
    "wrong_count": DAMAGE,  # a source with more or fewer rows than its row in `sources` says
    "repeated_record": DAMAGE,  # one line of a source in several rows, or one source in several rows of `sources`
    "lost_table": DAMAGE,  # a table that other tables speak of and that is gone
    "dangling_alias": DAMAGE,  # an alias of a space or version that is gone
    "lost_alias": DAMAGE,  # runs were recorded and `current` is gone
    "missing": INCOMPLETE,  # a protein without a vector and without a reject; the next embed fills it
    "unrecorded_source": INCOMPLETE,  # rows of a source that was not ingested, or not forgotten, whole
    "half_dropped": INCOMPLETE,  # a space whose removal was interrupted
    "lost_lease": LITTER,  # the lease's table is gone; the next command that writes makes it anew
    "lost_runs": LITTER,  # the history of runs is gone; the next run begins it anew
    "no_protein": LITTER,  # a vector whose protein is not in the store any more
    "orphans": LITTER,  # files of writes that were never committed; upkeep removes them
}

SOUND, UNFINISHED, BEING_WRITTEN, DAMAGED = "sound", "unfinished", "being written", "damaged"
# Damage that no writer causes for a moment: it is in rows, each of which becomes visible whole.
_LASTS = {"unreadable", "checksum", "non_finite", "dimension", "duplicate", "wrong_key", "wrong_length"}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with one table.

    `count` rows, records or files are affected. `unit`, `fragment`, the first `keys` (hexadecimal), the first `ids` of
    proteins with these keys, and the labels of all affected `sources` say where, as far as that is known.
    """

    kind: str
    table: str
    detail: str
    count: int = 1
    unit: str | None = None
    fragment: int | None = None
    keys: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()

    @property
    def severity(self) -> str:
        """`damage`, `incomplete` or `litter`."""
        return SEVERITY[self.kind]

    def __str__(self) -> str:
        unit = f", unit {self.unit}" if self.unit is not None else ""
        more = f" and {self.count - len(self.ids):,} more" if self.count > len(self.ids) else ""
        ids = f": {', '.join(self.ids)}{more}" if self.ids else ""
        return f"{self.kind}: {self.table}{unit}: {self.detail}{ids}"


@dataclass(frozen=True)
class Report:
    """What `verify` found. `rows`: how many rows were read, by table; `writer`: who was writing meanwhile, in words."""

    uri: str
    rows: dict[str, int]
    findings: tuple[Finding, ...]
    writer: str | None = None

    @property
    def state(self) -> str:
        """`sound`, `unfinished`, `being written` or `damaged`.

        While somebody writes, tables that were read one after another need not agree, so only damage that no writer
        can cause for a moment is judged.
        """
        damaged = {f.kind for f in self.damage}
        if damaged and (self.writer is None or damaged & _LASTS):
            return DAMAGED
        if self.writer is not None:
            return BEING_WRITTEN
        return SOUND if self.ok else UNFINISHED

    @property
    def judged(self) -> tuple[Finding, ...]:
        """The findings that count in this state: while somebody writes, only lasting damage."""
        return self.findings if self.writer is None else tuple(f for f in self.findings if f.kind in _LASTS)

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged and nothing is missing; litter does not count."""
        return all(f.severity == LITTER for f in self.findings)

    @property
    def damage(self) -> tuple[Finding, ...]:
        """The findings that repair is for."""
        return tuple(f for f in self.findings if f.severity == DAMAGE)

    def headline(self) -> str:
        """The state in one sentence."""
        if self.state == BEING_WRITTEN:
            return f"being written by {self.writer}; what is missing is not judged before it ends"
        if self.state == UNFINISHED:
            gaps = [f"{f.table} lacks {f.count:,} proteins" for f in self.findings if f.kind == "missing"]
            rest = sum(f.severity == INCOMPLETE for f in self.findings) - len(gaps)
            others = [f"{rest} change(s) did not finish"] if rest else []
            return f"unfinished: {first_of([*gaps, *others])}; nothing is damaged"
        if self.state == DAMAGED:
            tables = list(dict.fromkeys(f.table for f in self.judged if f.severity == DAMAGE))
            return f"damaged: {first_of(tables)}"
        return "sound: every protein has a vector or a reject, and every value is as written"

    def to_json(self) -> dict[str, Any]:
        """Plain values only."""
        findings = [{"severity": f.severity, **asdict(f)} for f in self.findings]
        facts = {"uri": self.uri, "state": self.state, "ok": self.ok, "writer": self.writer}
        return {**facts, "rows": self.rows, "findings": findings}


def first_keys(keys: Iterable[bytes]) -> tuple[str, ...]:
    """The first KEYS_NAMED keys, in hexadecimal."""
    return tuple(key.hex() for key, _ in zip(keys, range(KEYS_NAMED), strict=False))
