"""What can be wrong with a store, and how bad it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

KEYS_NAMED = 10  # of each finding; `count` tells how many there are

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
    "missing": INCOMPLETE,  # a protein without a vector and without a reject; the next embed fills it
    "unrecorded_source": INCOMPLETE,  # rows of a source that was not ingested, or not forgotten, whole
    "dangling_alias": INCOMPLETE,  # an alias of a space or version that is gone
    "lost_alias": INCOMPLETE,  # runs were recorded and `current` is gone
    "lost_lease": LITTER,  # the lease's table is gone; the next command that writes makes it anew
    "no_protein": LITTER,  # a vector whose protein is not in the store any more
    "orphans": LITTER,  # files of writes that were never committed; upkeep removes them
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with one table.

    `count` rows, records or files are affected. `unit`, `fragment`, the first `keys` (hexadecimal) and the labels of
    all affected `sources` say where, as far as that is known.
    """

    kind: str
    table: str
    detail: str
    count: int = 1
    unit: str | None = None
    fragment: int | None = None
    keys: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    @property
    def severity(self) -> str:
        """`damage`, `incomplete` or `litter`."""
        return SEVERITY[self.kind]

    def __str__(self) -> str:
        unit = f", unit {self.unit}" if self.unit is not None else ""
        keys = f" [{', '.join(self.keys)}{', ...' if self.count > len(self.keys) else ''}]" if self.keys else ""
        return f"{self.kind}: {self.table}{unit}: {self.detail}{keys}"


@dataclass(frozen=True)
class Report:
    """What `verify` found. `rows`: how many rows were read, by table."""

    uri: str
    rows: dict[str, int]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged and nothing is missing; litter does not count."""
        return all(f.severity == LITTER for f in self.findings)

    @property
    def damage(self) -> tuple[Finding, ...]:
        """The findings that repair is for."""
        return tuple(f for f in self.findings if f.severity == DAMAGE)

    def to_json(self) -> dict[str, Any]:
        """Plain values only."""
        findings = [{"severity": f.severity, **asdict(f)} for f in self.findings]
        return {"uri": self.uri, "ok": self.ok, "rows": self.rows, "findings": findings}


def first_keys(keys: Iterable[bytes]) -> tuple[str, ...]:
    """The first KEYS_NAMED keys, in hexadecimal."""
    return tuple(key.hex() for key, _ in zip(keys, range(KEYS_NAMED), strict=False))
