"""Proteins that a benchmark or a simulation draws from."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from protea_ray.sequences.inputs import Columns, expand, scan
from protea_ray.sequences.read import read_part


def accepted(source: str) -> Iterator[pa.RecordBatch | pa.Table]:
    """Every accepted protein of an input of `protea-ray embed`, in batches with `sequence` and `length`."""
    columns = Columns()
    for found in expand([source]):
        for part in scan(found, columns, 1 << 40).parts:
            for batch in read_part(part, columns, "", ""):
                yield batch.proteins
