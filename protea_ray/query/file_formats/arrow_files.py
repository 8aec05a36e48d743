"""Rows as Parquet or as an Arrow file, a part at a time; both keep half precision and the pin in their metadata."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from protea_ray.query.file_formats.content import Content


def parquet_file(content: Content, path: Path) -> int:
    """Write Parquet, one row group a part or more; returns the rows."""
    return _parts(content, lambda schema: pq.ParquetWriter(path, schema))


def arrow_file(content: Content, path: Path) -> int:
    """Write an Arrow IPC file (Feather version 2); returns the rows."""
    return _parts(content, lambda schema: pa.ipc.new_file(str(path), schema))


def _parts(content: Content, open_writer: Callable[[pa.Schema], Any]) -> int:
    rows, writer = 0, None
    try:
        for table in content.tables():
            writer = writer or open_writer(table.schema)
            writer.write_table(table)
            rows += len(table)
    finally:
        if writer is not None:
            writer.close()
    return rows
