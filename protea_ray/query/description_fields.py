"""What headers say of a protein in a form that is known: a family, `family=F0001`, and UniProt's organism, `OS=...`.

Nothing is guessed: a value counts where its name and an equals sign stand before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

# by the name of the column, how it is written and the pattern whose group `value` it is
FIELDS = {
    "family": ("family=", r"(?i)(?:^|[\s;,|])family=(?P<value>[^\s;,|]+)"),
    "organism": ("OS=", r"(?s)(?:^|\s)OS=(?P<value>\S.*?)\s*(?:\s[A-Z]{2}=|$)"),  # until OX=, GN=, PE= or SV=
}


@dataclass(frozen=True)
class DescriptionField:
    """One field of descriptions, (n,) `values`, "" where it is not there; `found` counts those that have it."""

    name: str
    written: str
    values: pa.Array
    found: int


def description_fields(descriptions: pa.Array) -> list[DescriptionField]:
    """The fields that at least one of `descriptions` (n,) has.

    >>> [(f.name, f.values.to_pylist()) for f in description_fields(pa.array(["family=F1", "P53 OS=Bos taurus OX=9"]))]
    [('family', ['F1', '']), ('organism', ['', 'Bos taurus'])]
    """
    fields = []
    for name, (written, pattern) in FIELDS.items():
        matched = pc.extract_regex(descriptions, pattern)
        values = pc.struct_field(matched, [0]) if len(matched) else pa.array([], pa.string())
        values = pc.if_else(matched.is_valid(), values, "")
        fields.append(DescriptionField(name, written, values, matched.is_valid().sum().as_py() or 0))
    return [field for field in fields if field.found]
