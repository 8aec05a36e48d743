"""Arrow schemas of the bulk data that every floor above shares."""

from __future__ import annotations

import pyarrow as pa

KEY_BYTES = 16
KEY = pa.binary(KEY_BYTES)

PROTEINS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("key", KEY, nullable=False),  # first 16 bytes of sha256 of the normalised letters
        pa.field("length", pa.int32(), nullable=False),  # residues
        pa.field("sequence", pa.string(), nullable=False),  # normalised letters
        pa.field("description", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),  # where the record was read
        pa.field("line", pa.int64(), nullable=False),  # 1-based line (row of tabular inputs) in that source
    ]
)

REJECTS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("key", KEY),  # null where there were no letters to hash
        pa.field("source", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),  # ingest or embed
        pa.field("reason", pa.string(), nullable=False),  # one word, stable: what to group by
        pa.field("detail", pa.string(), nullable=False),  # a sentence for a person
        pa.field("attempts", pa.int32(), nullable=False),
        pa.field("run", pa.string(), nullable=False),
        pa.field("space", pa.string()),  # null for ingest: no space ever saw it
    ]
)
