"""Loads of examples in memory, cut into batches of tensors; the next load is read while this one is trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from protea_ray.query.training.epoch import Epoch
from protea_ray.query.training.examples import MASK, Examples, Reader
from protea_ray.query.view import matrix
from protea_ray.store.rows import RESIDUES

Batch = dict[str, Any]
IGNORED = -100  # torch's cross-entropy leaves out targets of this number


def read_batches(
    reader: Reader, examples: Examples, plan: Epoch, loads: Sequence[int], skip: int, dtype: str | None
) -> Iterator[Batch]:
    """Yield the batches of these loads without the first `skip`. Loads that are skipped whole are not read."""
    wanted = list(_loads_after(plan, loads, skip))
    with ThreadPoolExecutor(1, thread_name_prefix="protea-ray-read") as ahead:
        waiting = None
        for position, (number, first) in enumerate(wanted):
            waiting = waiting or ahead.submit(_read_load, reader, examples[plan.loads[number]], dtype)
            load = waiting.result()
            following = wanted[position + 1][0] if position + 1 < len(wanted) else None
            waiting = None
            if following is not None:
                waiting = ahead.submit(_read_load, reader, examples[plan.loads[following]], dtype)
            for rows in plan.batches(number)[first:]:
                yield load.batch(rows)


def _loads_after(plan: Epoch, loads: Sequence[int], skip: int) -> Iterator[tuple[int, int]]:
    """Yield (load, its first batch to give) for every load that holds a batch after the first `skip`."""
    for number in loads:
        size = plan.sizes[number] if skip else 0
        if skip and skip >= size:
            skip -= size
            continue
        yield number, skip
        skip = 0


@dataclass(frozen=True)
class LoadedRows:
    """One load in memory: columns as arrays with one row per example, and residue matrices if they were asked for."""

    columns: dict[str, np.ndarray | pa.Array]
    residues: list[np.ndarray] | None
    per_residue: tuple[str, ...] = ()
    dtype: str | None = None

    def batch(self, rows: np.ndarray) -> Batch:
        """These rows as tensors and lists; floating numbers in `dtype`, None: as they are stored."""
        made = {name: _rows_of(column, rows) for name, column in self.columns.items() if name not in self.per_residue}
        if self.residues is not None:
            made |= padded([self.residues[row] for row in rows.tolist()])
            longest = made[MASK].shape[1]
            made |= {name: padded_labels(self.columns[name], rows, longest) for name in self.per_residue}
        if self.dtype is None:
            return made
        kind = getattr(torch, self.dtype)
        return {n: v.to(kind) if isinstance(v, torch.Tensor) and v.is_floating_point() else v for n, v in made.items()}


def _read_load(reader: Reader, examples: Examples, dtype: str | None) -> LoadedRows:
    table, residues = reader.load(examples)
    per_residue = reader.labels.per_residue if reader.labels is not None else ()
    return LoadedRows({name: _array(table[name]) for name in table.column_names}, residues, per_residue, dtype)


def _array(column: pa.ChunkedArray) -> np.ndarray | pa.Array:
    """Numbers as numpy, (n,) or (n, D); every other column stays Arrow."""
    kind = column.type
    if pa.types.is_fixed_size_list(kind):
        return matrix(column)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return column.to_numpy()
    return column.combine_chunks()


def _rows_of(column: np.ndarray | pa.Array, rows: np.ndarray) -> Any:
    """These rows of a column: a tensor of numbers, or a list."""
    if isinstance(column, np.ndarray):
        return torch.from_numpy(column.take(rows, axis=0))
    return column.take(pa.array(rows)).to_pylist()


def padded(matrices: Sequence[np.ndarray]) -> Batch:
    """Pad residue matrices to the longest of them.

    Returns `residues` (B, longest, D), zeros after each protein's end, and `mask` (B, longest), True on residues.

    >>> batch = padded([np.ones((2, 1)), np.ones((1, 1))])
    >>> tuple(batch["residues"].shape), batch["mask"].tolist()
    ((2, 2, 1), [[True, True], [True, False]])
    """
    lengths = [len(m) for m in matrices]
    residues = np.zeros((len(matrices), max(lengths), matrices[0].shape[1]), matrices[0].dtype)
    for row, values in enumerate(matrices):
        residues[row, : len(values)] = values
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    return {RESIDUES: torch.from_numpy(residues), MASK: torch.from_numpy(mask)}


def padded_labels(lists: pa.Array, rows: np.ndarray, longest: int) -> torch.Tensor:
    """Labels per residue of these rows, (B, longest); past a protein's end -100, which torch's losses ignore, or nan.

    >>> padded_labels(pa.array([[1, 2], [3]], pa.large_list(pa.int64())), np.array([1, 0]), 2).tolist()
    [[3, -100], [1, 2]]
    """
    offsets, values = lists.offsets.to_numpy(), lists.values.to_numpy()
    blank = np.nan if np.issubdtype(values.dtype, np.floating) else IGNORED
    made = np.full((len(rows), longest), blank, values.dtype)
    for at, row in enumerate(rows.tolist()):
        own = values[offsets[row] : offsets[row + 1]]
        made[at, : len(own)] = own
    return torch.from_numpy(made)
