"""Results of evaluations in the store: one row for each measured value of one probe on one task with one seed.

The rows of one cell (task, input, protocol, seed) are appended in one commit, so a cell is there whole or not at all.
"""

from __future__ import annotations

import pyarrow as pa

EVALUATIONS = pa.schema(
    [
        pa.field("cell", pa.string(), nullable=False),  # hexadecimal digest of task, input, protocol and seed
        pa.field("run", pa.string(), nullable=False),
        pa.field("finished", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("input", pa.string(), nullable=False),  # as tables show it
        pa.field("input_digest", pa.string(), nullable=False),
        pa.field("control", pa.string(), nullable=False),  # "" for a subject, else random, composition or untrained
        pa.field("space", pa.string(), nullable=False),  # "" for a control without one
        pa.field("version", pa.int64(), nullable=False),  # of the space, 0 without one
        pa.field("proteins_version", pa.int64(), nullable=False),
        pa.field("pooling", pa.string(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("trained", pa.bool_(), nullable=False),
        pa.field("recipe", pa.string(), nullable=False),  # JSON
        pa.field("task", pa.string(), nullable=False),
        pa.field("task_digest", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("train", pa.int64(), nullable=False),  # proteins; of several folds, the mean
        pa.field("protocol", pa.string(), nullable=False),
        pa.field("seed", pa.int32(), nullable=False),
        pa.field("probe", pa.string(), nullable=False),
        pa.field("subset", pa.string(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),  # tested proteins, or chains, in the subset
        pa.field("metric", pa.string(), nullable=False),
        pa.field("value", pa.float64()),  # null where it is not defined: one class, a constant
        pa.field("resampled", pa.list_(pa.float32()), nullable=False),  # the metric of each bootstrap draw
    ]
)
KEY = ("cell", "probe", "subset", "metric")  # of which no two rows have the same
