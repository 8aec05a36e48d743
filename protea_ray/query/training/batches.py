"""Windows become batches of tensors, one window ahead of the training loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from protea_ray.query.search import matrix
from protea_ray.query.training.epoch import Epoch
from protea_ray.query.training.examples import MASK, Examples, Reader
from protea_ray.store.rows import RESIDUES

Batch = dict[str, Any]


def batches(reader: Reader, examples: Examples, plan: Epoch, windows: Sequence[int], skip: int) -> Iterator[Batch]:
    """Every batch of these windows but the first `skip`, whose windows are not read where they are skipped whole."""
    wanted = list(_wanted(plan, windows, skip))
    with ThreadPoolExecutor(1, thread_name_prefix="protea-ray-read") as ahead:
        waiting = None
        for position, (number, first) in enumerate(wanted):
            waiting = waiting or ahead.submit(_read, reader, examples[plan.windows[number]])
            window = waiting.result()
            following = wanted[position + 1][0] if position + 1 < len(wanted) else None
            waiting = None
            if following is not None:
                waiting = ahead.submit(_read, reader, examples[plan.windows[following]])
            for rows in plan.batches(number)[first:]:
                yield window.batch(rows)


def _wanted(plan: Epoch, windows: Sequence[int], skip: int) -> Iterator[tuple[int, int]]:
    """(window, first batch of it to give)."""
    for number in windows:
        size = plan.sizes[number] if skip else 0
        if skip and skip >= size:
            skip -= size
            continue
        yield number, skip
        skip = 0


@dataclass(frozen=True)
class Window:
    """What is in memory: columns as arrays with one row per example, and residue matrices if they are wanted."""

    columns: dict[str, np.ndarray | pa.Array]
    residues: list[np.ndarray] | None

    def batch(self, rows: np.ndarray) -> Batch:
        """These rows as tensors and lists."""
        made = {name: _picked(column, rows) for name, column in self.columns.items()}
        if self.residues is not None:
            made |= padded([self.residues[row] for row in rows.tolist()])
        return made


def _read(reader: Reader, examples: Examples) -> Window:
    table = reader.read(examples)
    columns = {name: _array(table[name]) for name in table.column_names}
    return Window(columns, reader.read_residues(examples) if reader.columns.residues else None)


def _array(column: pa.ChunkedArray) -> np.ndarray | pa.Array:
    """Numbers as numpy, (n,) or (n, D); anything else stays Arrow."""
    kind = column.type
    if pa.types.is_fixed_size_list(kind):
        return matrix(column)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return column.to_numpy()
    return column.combine_chunks()


def _picked(column: np.ndarray | pa.Array, rows: np.ndarray) -> Any:
    if isinstance(column, np.ndarray):
        return torch.from_numpy(column.take(rows, axis=0))
    return column.take(pa.array(rows)).to_pylist()


def padded(matrices: Sequence[np.ndarray]) -> Batch:
    """`residues` (B, longest, D), zeros after each protein's end, and `mask` (B, longest), True on residues."""
    lengths = [len(m) for m in matrices]
    residues = np.zeros((len(matrices), max(lengths), matrices[0].shape[1]), matrices[0].dtype)
    for row, one in enumerate(matrices):
        residues[row, : len(one)] = one
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    return {RESIDUES: torch.from_numpy(residues), MASK: torch.from_numpy(mask)}
